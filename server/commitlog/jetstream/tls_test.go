package jetstream

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog/jetstream/jetstreamtest"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles/tlstest"
)

func TestTLS(t *testing.T) {
	t.Parallel()
	ca, other := tlstest.NewCA(t), tlstest.NewCA(t)
	pair := ca.Issue(t, time.Now().Add(time.Hour), "")
	c := jetstreamtest.Start(t, 1, fmt.Sprintf("tls { cert_file: %q, key_file: %q }", pair.Certificate, pair.Key))
	config := configFor(c)
	config.TLS.CA = ca.File
	wantOpen(t, config)
	for _, url := range []string{"tls://", "tls://user:s3cret@"} {
		config.URLs = []string{strings.Replace(c.Nodes[0].URL, "nats://", url, 1)}
		wantOpen(t, config)
	}
	config.TLS.CA = other.File
	wantRefused(t, config, "certificate signed by unknown authority", "tls.ca must have the root")
	config.TLS.CA = ""
	wantRefused(t, config, "certificate signed by unknown authority", "tls.ca must have the root")
	config.URLs = c.URLs() // the server asks for TLS
	wantRefused(t, config, "certificate signed by unknown authority", "tls.ca must have the root")
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	ca, other := tlstest.NewCA(t), tlstest.NewCA(t)
	pair := ca.Issue(t, time.Now().Add(time.Hour), "")
	c := jetstreamtest.Start(t, 1, fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", pair.Certificate, pair.Key, ca.File))
	config := configFor(c)
	config.TLS.CA = ca.File
	wantRefused(t, config, "remote error: tls: certificate required", "the server refuses the connection: tls.certificate and tls.key")
	stranger := other.Issue(t, time.Now().Add(time.Hour), "")
	config.TLS.Certificate, config.TLS.Key = stranger.Certificate, stranger.Key
	wantRefused(t, config, "remote error: tls: ", "tls.certificate and tls.key must be of a client that it knows")
	old := ca.Issue(t, time.Now().Add(-time.Minute), "")
	config.TLS.Certificate, config.TLS.Key = old.Certificate, old.Key
	wantRefused(t, config, "remote error: tls: ", "tls.certificate and tls.key must be of a client that it knows")
	mine := ca.Issue(t, time.Now().Add(time.Hour), "")
	config.TLS.Certificate, config.TLS.Key = mine.Certificate, mine.Key
	wantOpen(t, config)
}

func TestServersWithTheWrongCertificate(t *testing.T) {
	t.Parallel()
	ca := tlstest.NewCA(t)
	for says, pair := range map[string]tlstest.Pair{
		"use a name in the URL that is in the server's certificate": ca.IssueFor(t, time.Now().Add(time.Hour), "nats-1"),
		"the server needs a certificate that is valid now":          ca.Issue(t, time.Now().Add(-time.Minute), ""),
	} {
		config := configFor(jetstreamtest.Start(t, 1, fmt.Sprintf("tls { cert_file: %q, key_file: %q }", pair.Certificate, pair.Key)))
		config.TLS.CA = ca.File
		wantRefused(t, config, says)
	}
	config := configFor(jetstreamtest.Start(t, 1, ""))
	config.TLS.CA = ca.File
	wantRefused(t, config, "the server does not speak TLS")
}
