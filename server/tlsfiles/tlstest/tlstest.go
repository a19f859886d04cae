// Package tlstest makes certificates for tests.
package tlstest

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles"
)

// CA signs certificates.
type CA struct {
	// File is the path of its own certificate.
	File string

	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewCA returns a CA.
func NewCA(t testing.TB) *CA {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "test root"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "root.pem")
	writePEM(t, file, "CERTIFICATE", der)
	return &CA{File: file, certificate: certificate, key: key}
}

// Pool returns the CA as the only root.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.certificate)
	return pool
}

// Client returns the TLS of a client that trusts the CA alone, and shows certificates.
func (ca *CA) Client(certificates ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: ca.Pool(), Certificates: certificates, MinVersion: tls.VersionTLS12}
}

// Pair is a certificate and its key, as files and loaded.
type Pair struct {
	Certificate, Key string
	Loaded           tls.Certificate
}

// Secure has listeners speak TLS with the pair.
func (p Pair) Secure(listeners ...*tlsfiles.Config) {
	for _, l := range listeners {
		l.Certificate, l.Key = p.Certificate, p.Key
	}
}

// Issue makes a certificate for 127.0.0.1 and localhost, or of a client, in files that
// may be written again. expires is when it does; uri is a name such as a SPIFFE ID, or
// empty.
func (ca *CA) Issue(t testing.TB, expires time.Time, uri string) Pair {
	t.Helper()
	dir := t.TempDir()
	pair := Pair{Certificate: filepath.Join(dir, "certificate.pem"), Key: filepath.Join(dir, "key.pem")}
	ca.Renew(t, &pair, expires, uri)
	return pair
}

// IssueFor makes a certificate that has one DNS name, and no address.
func (ca *CA) IssueFor(t testing.TB, expires time.Time, name string) Pair {
	t.Helper()
	dir := t.TempDir()
	pair := Pair{Certificate: filepath.Join(dir, "certificate.pem"), Key: filepath.Join(dir, "key.pem")}
	ca.sign(t, &pair, &x509.Certificate{NotAfter: expires, DNSNames: []string{name}})
	return pair
}

// IssueForServers makes a certificate that has one DNS name, and is not for clients.
func (ca *CA) IssueForServers(t testing.TB, expires time.Time, name string) Pair {
	t.Helper()
	dir := t.TempDir()
	pair := Pair{Certificate: filepath.Join(dir, "certificate.pem"), Key: filepath.Join(dir, "key.pem")}
	ca.sign(t, &pair, &x509.Certificate{NotAfter: expires, DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return pair
}

// IssueFrom makes a certificate for 127.0.0.1 that is valid for an hour from then on.
func (ca *CA) IssueFrom(t testing.TB, begins time.Time) Pair {
	t.Helper()
	dir := t.TempDir()
	pair := Pair{Certificate: filepath.Join(dir, "certificate.pem"), Key: filepath.Join(dir, "key.pem")}
	ca.sign(t, &pair, &x509.Certificate{NotBefore: begins, NotAfter: begins.Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	return pair
}

// Renew writes a new certificate and key into the files of another.
func (ca *CA) Renew(t testing.TB, pair *Pair, expires time.Time, uri string) {
	t.Helper()
	template := &x509.Certificate{
		NotAfter: expires, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if uri != "" {
		parsed, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = []*url.URL{parsed}
	}
	ca.sign(t, pair, template)
}

// sign writes a certificate with the names of a template, and a new key, into files.
func (ca *CA) sign(t testing.TB, pair *Pair, template *x509.Certificate) {
	t.Helper()
	key := newKey(t)
	template.SerialNumber, template.Subject, template.NotBefore = serial(t), pkix.Name{CommonName: "test"}, cmp.Or(template.NotBefore, time.Now().Add(-time.Hour))
	template.KeyUsage = x509.KeyUsageDigitalSignature
	if template.ExtKeyUsage == nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, pair.Certificate, "CERTIFICATE", der)
	writePEM(t, pair.Key, "PRIVATE KEY", keyDER)
	if pair.Loaded, err = tls.LoadX509KeyPair(pair.Certificate, pair.Key); err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func writePEM(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
