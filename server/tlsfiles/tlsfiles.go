// Package tlsfiles makes the TLS configuration of a listener from files.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// Config is the TLS of one listener. Without a certificate it has none.
type Config struct {
	// Certificate is the path of the certificate in PEM, followed by those that
	// lead to the root.
	Certificate string `yaml:"certificate"`
	// Key is the path of the certificate's private key in PEM, without a passphrase.
	Key string `yaml:"key"`
	// ClientCA is the path of the roots of client certificates in PEM. Without one,
	// clients are not asked for a certificate.
	ClientCA string `yaml:"client_ca"`
	// RequireClientCertificate refuses who has no certificate of ClientCA. Otherwise a
	// client may do without, and one that is shown must be valid.
	RequireClientCertificate bool `yaml:"require_client_certificate"`
	// MinVersion is the oldest version of TLS that is spoken: `1.2` or `1.3`.
	MinVersion string `yaml:"min_version"`
}

// versions are those that MinVersion may name. Nothing older is safe.
var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// Enabled reports whether the listener speaks TLS.
func (c Config) Enabled() bool { return c.Certificate != "" }

// Files returns the paths of the files.
func (c Config) Files() []string {
	var files []string
	for _, file := range []string{c.Certificate, c.Key, c.ClientCA} {
		if file != "" {
			files = append(files, file)
		}
	}
	return files
}

// Validate returns all that is wrong with the configuration. It does not look at the
// files.
func (c Config) Validate() error {
	var errs []error
	if (c.Certificate == "") != (c.Key == "") {
		errs = append(errs, fielderr.New("certificate", "a certificate and its key go together: give both, or neither"))
	}
	if c.ClientCA != "" && c.Certificate == "" {
		errs = append(errs, fielderr.New("client_ca", "client certificates need TLS: give certificate and key, too"))
	}
	if c.RequireClientCertificate && c.ClientCA == "" {
		errs = append(errs, fielderr.New("require_client_certificate", "there is nothing to check client certificates against: give client_ca"))
	}
	if _, ok := versions[c.MinVersion]; !ok {
		errs = append(errs, fielderr.New("min_version", "%q is no version: choose 1.2 or 1.3", c.MinVersion))
	}
	return errors.Join(errs...)
}

// Load reads the files. protocols are those of the application (ALPN), the preferred
// one first. Ciphers, curves and signatures are the choice of the standard library. A
// certificate that has expired is loaded: see Expires. Its errors are of fielderr.
func (c Config) Load(protocols ...string) (*tls.Config, error) {
	certificate, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		return nil, fielderr.New("certificate", "%v", err)
	}
	if certificate.Leaf == nil { // asked for by GODEBUG
		if certificate.Leaf, err = x509.ParseCertificate(certificate.Certificate[0]); err != nil {
			return nil, fielderr.New("certificate", "%v", err)
		}
	}
	loaded := &tls.Config{
		MinVersion:   versions[c.MinVersion],
		Certificates: []tls.Certificate{certificate},
		NextProtos:   protocols,
	}
	if c.ClientCA == "" {
		return loaded, nil
	}
	pem, err := os.ReadFile(c.ClientCA)
	if err != nil {
		return nil, fielderr.New("client_ca", "%v", err)
	}
	loaded.ClientCAs = x509.NewCertPool()
	if !loaded.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fielderr.New("client_ca", "%s has no certificate in PEM", c.ClientCA)
	}
	loaded.ClientAuth = tls.VerifyClientCertIfGiven
	if c.RequireClientCertificate {
		loaded.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return loaded, nil
}

// Expires returns when the certificate of a loaded configuration expires.
func Expires(loaded *tls.Config) time.Time { return loaded.Certificates[0].Leaf.NotAfter }

// Begins returns from when on the certificate of a loaded configuration is valid.
func Begins(loaded *tls.Config) time.Time { return loaded.Certificates[0].Leaf.NotBefore }

// CheckPeer returns why another one with the same roots would refuse the certificate of a loaded
// configuration: as that of a server that is called by a host, and where there are roots of clients, as that
// of a client. Nil as well if it has expired, or is not valid yet: see Expires and Begins.
func CheckPeer(loaded *tls.Config, host string, now time.Time) error {
	leaf := loaded.Certificates[0].Leaf
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return nil
	}
	options := x509.VerifyOptions{
		DNSName: host, Roots: loaded.ClientCAs, Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, der := range loaded.Certificates[0].Certificate[1:] {
		if next, err := x509.ParseCertificate(der); err == nil { // who checks it passes over what it cannot read
			options.Intermediates.AddCert(next)
		}
	}
	if _, err := leaf.Verify(options); err != nil {
		return fmt.Errorf("as that of a server: %w", err)
	}
	if loaded.ClientCAs == nil {
		return nil
	}
	options.DNSName, options.KeyUsages = "", []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if _, err := leaf.Verify(options); err != nil {
		return fmt.Errorf("as that of a client: %w", err)
	}
	return nil
}

// errNotLoaded is what a handshake fails with before the first Replace.
var errNotLoaded = errors.New("no certificate is loaded")
