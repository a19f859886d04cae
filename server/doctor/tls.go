package doctor

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/filemode"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles"
)

// soon is how long before a certificate or a token expires somebody is told.
const (
	soonDays = 14
	soon     = soonDays * 24 * time.Hour
)

// checkTLS looks at the certificates of the listeners.
func checkTLS(config server.Config) []Finding {
	var findings []Finding
	for _, l := range []struct {
		name, address string
		config        tlsfiles.Config
		public        bool
	}{
		{"webhooks", config.Listen.Webhooks, config.TLS.Webhooks, true},
		{"grpc", config.Listen.GRPC, config.TLS.GRPC, false},
		{"internal_http", config.Listen.InternalHTTP, config.TLS.InternalHTTP, false},
	} {
		if !l.config.Enabled() {
			findings = append(findings, judgePlain(l.name, l.address, l.public))
			continue
		}
		roots := systemRoots
		if !l.public {
			roots = nil
		}
		_, found := checkFiles("tls."+l.name, l.config, roots)
		findings = append(findings, found...)
	}
	if c := config.Cluster; config.Store.CommitLog.Enabled() && c.TLS.Enabled() { // plain text is told of with the configuration
		loaded, found := checkFiles("cluster.tls", c.TLS, nil)
		findings = append(findings, found...)
		if loaded != nil {
			findings = append(findings, judgePeer(loaded, c.Host(), time.Now())...)
		}
	}
	return findings
}

// checkFiles looks at the files of a listener, and returns what is loaded of them, nil if they cannot be.
// With roots everybody has to trust the certificate.
func checkFiles(key string, c tlsfiles.Config, roots func() *x509.CertPool) (loaded *tls.Config, findings []Finding) {
	if f, bad := checkMode(filemode.CheckFile, c.Key); bad {
		f.Text = key + ".key: " + f.Text
		findings = append(findings, f)
	}
	loaded, err := c.Load()
	if err != nil {
		return nil, append(findings, finding(Fail, "mend the files, or the paths", "%s.%v", key, err))
	}
	findings = append(findings, judgeCertificate(key, loaded.Certificates[0], time.Now(), roots))
	return loaded, append(findings, checkClientCA(key+".client_ca", c.ClientCA)...)
}

// judgePeer judges whether other gateways take the certificate of one.
func judgePeer(loaded *tls.Config, host string, now time.Time) []Finding {
	if err := tlsfiles.CheckPeer(loaded, host, now); err != nil {
		return one(Fail, server.PeerCertificateAdvice, "cluster.tls: gateways with the same cluster.tls.client_ca refuse the certificate, %v", err)
	}
	return nil
}

// checkClientCA looks at a file of roots that was loaded, if there is one.
func checkClientCA(key, file string) []Finding {
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return one(Fail, "mend the file, or the path", "%s: %v", key, err)
	}
	findings := judgeRoots(key, text, time.Now())
	if f, bad := checkMode(filemode.CheckWritable, file); bad {
		f.Text = key + ": " + f.Text
		findings = append(findings, f)
	}
	return findings
}

// judgeRoots judges the roots of client certificates, in PEM.
func judgeRoots(key string, text []byte, now time.Time) []Finding {
	var findings []Finding
	count := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		root, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			continue // it is passed over by a gateway, too
		}
		count++
		until := root.NotAfter.UTC().Format(time.RFC3339)
		const do = "renew it, have clients get certificates of the new one, and remove the old"
		switch {
		case now.After(root.NotAfter):
			findings = append(findings, finding(Warn, do, "%s: %s expired at %s: clients with its certificates are refused", key, root.Subject, until))
		case now.After(root.NotAfter.Add(-soon)):
			findings = append(findings, finding(Warn, do, "%s: %s expires at %s", key, root.Subject, until))
		case now.Before(root.NotBefore):
			findings = append(findings, finding(Warn, "correct the clock, or wait", "%s: %s is valid only from %s on", key, root.Subject, root.NotBefore.UTC().Format(time.RFC3339)))
		}
	}
	if len(findings) == 0 {
		findings = one(OK, "", "%s: %s of client certificates, valid for more than %d days", key, counted(count, "root"), soonDays)
	}
	return findings
}

func judgePlain(name, address string, public bool) Finding {
	host, _, _ := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	switch {
	case host == "localhost" || ip != nil && ip.IsLoopback():
		return finding(OK, "", "listen.%s speaks plain text, on this machine only", name)
	case public:
		return finding(OK, "", "listen.%s speaks plain text: a proxy in front of it has to speak TLS", name)
	}
	return finding(Warn, "give it a certificate (tls."+name+"), or let it listen on localhost only", "listen.%s speaks plain text on %s: who is on the way can read events", name, address)
}

// systemRoots returns the roots that this machine trusts.
func systemRoots() *x509.CertPool {
	roots, err := x509.SystemCertPool()
	if err != nil {
		return x509.NewCertPool()
	}
	return roots
}

// judgeCertificate judges a certificate whose key fits. With roots everybody has to trust
// it.
func judgeCertificate(key string, c tls.Certificate, now time.Time, roots func() *x509.CertPool) Finding {
	leaf := c.Leaf
	until := leaf.NotAfter.UTC().Format(time.RFC3339)
	intermediates := x509.NewCertPool()
	last := leaf
	for _, der := range c.Certificate[1:] {
		next, err := x509.ParseCertificate(der)
		if err != nil {
			return finding(Fail, "write the file anew", "%s: a certificate of the chain cannot be read: %v", key, err)
		}
		if err := last.CheckSignatureFrom(next); err != nil {
			return finding(Warn, "put the certificates in order: its own first, each followed by the one that signed it",
				"%s: %s is followed by %s, which did not sign it", key, last.Subject, next.Subject)
		}
		intermediates.AddCert(next)
		last = next
	}
	switch {
	case now.Before(leaf.NotBefore):
		return finding(Fail, "correct the clock, or wait", "%s: the certificate is valid only from %s on", key, leaf.NotBefore.UTC().Format(time.RFC3339))
	case now.After(leaf.NotAfter):
		return finding(Fail, "renew it", "%s: the certificate expired at %s", key, until)
	case now.After(leaf.NotAfter.Add(-soon)):
		return finding(Warn, "renew it", "%s: the certificate expires at %s", key, until)
	case len(leaf.DNSNames) == 0 && len(leaf.IPAddresses) == 0:
		return finding(Warn, "have it issued with a subject alternative name", "%s: the certificate has no name by which a client could check it", key)
	}
	if roots != nil {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots(), Intermediates: intermediates, CurrentTime: now}); err != nil {
			do := "append the certificates that lead to a public root"
			if bytes.Equal(last.RawIssuer, last.RawSubject) {
				do = "providers trust public roots only: have it issued by a public authority"
			}
			return finding(Warn, do, "%s: this machine does not trust the certificate, and a provider may not: %v", key, err)
		}
	}
	return finding(OK, "", "%s: the certificate is that of the key, and valid until %s", key, until)
}
