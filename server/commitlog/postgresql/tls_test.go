package postgresql

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certify gives the server a certificate for 127.0.0.1, and returns the path of it.
func (s *testServer) certify() string {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	certificate := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "database"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, key.Public(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"server.crt": {Type: "CERTIFICATE", Bytes: der}, "server.key": {Type: "PRIVATE KEY", Bytes: secret}} {
		path := filepath.Join(s.data(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			s.t.Fatal(err)
		}
		if err := os.Chown(path, int(s.as().Uid), int(s.as().Gid)); err != nil {
			s.t.Fatal(err)
		}
	}
	return filepath.Join(s.data(), "server.crt")
}

func TestTLS(t *testing.T) {
	t.Parallel()
	server := newServer(t, "ssl=on")
	roots := server.certify()
	server.start()
	config := configOf(server)
	plain := config.URL
	config.URL = plain + "?sslmode=verify-full&sslrootcert=" + roots
	log := openLog(t, config)
	settle(t, log, 0, "first")
	var encrypted bool
	if err := log.pool.QueryRow(t.Context(), "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").Scan(&encrypted); err != nil || !encrypted {
		t.Errorf("it is encrypted: %v, %v", encrypted, err)
	}

	stranger := newServer(t, "ssl=on")
	config.URL = plain + "?sslmode=verify-full&sslrootcert=" + stranger.certify()
	refused(t, config, "certificate", "sslrootcert in url must name the file with the root that vouches for the server")
	config.URL = strings.Replace(plain, "127.0.0.1", "localhost", 1) + "?sslmode=verify-full&sslrootcert=" + roots
	refused(t, config, "localhost", "use a name in url that is in the server's certificate")
	config.URL = plain + "?sslmode=verify-full&sslrootcert=/nowhere/ca.pem"
	refused(t, config, "url: ", "/nowhere/ca.pem")
	config.URL = plain + "?sslmode=very-full"
	refused(t, config, "url: ", "sslmode is invalid")
}
