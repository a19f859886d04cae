package access

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"slices"
	"strconv"
)

// Roots are the authorities that vouch for client certificates at present, by listener:
// nobody if a function is nil, or returns nil.
type Roots struct {
	GRPC, HTTP func() *x509.CertPool
}

// A shownCertificate is the certificate of the client of a connection.
type shownCertificate struct {
	// chains lead from it to authorities that vouched for it when the connection was opened.
	chains [][]*x509.Certificate
	roots  func() *x509.CertPool
}

// shown returns the certificate of the client of a connection, nil if it has none that an
// authority vouched for.
func shown(state *tls.ConnectionState, roots func() *x509.CertPool) *shownCertificate {
	if state == nil || len(state.VerifiedChains) == 0 || roots == nil {
		return nil
	}
	return &shownCertificate{chains: state.VerifiedChains, roots: roots}
}

func (c *shownCertificate) leaf() *x509.Certificate { return c.chains[0][0] }

// vouched reports whether an authority still vouches for the certificate: a connection
// may be older than the roots that are in force.
func (c *shownCertificate) vouched() bool {
	pool := c.roots()
	if pool == nil {
		return false
	}
	// That a root is in the pool takes no check of a signature.
	options := x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	return slices.ContainsFunc(c.chains, func(chain []*x509.Certificate) bool {
		_, err := chain[len(chain)-1].Verify(options)
		return err == nil
	})
}

// matches reports whether a certificate has the name of an identity.
func (c Certificate) matches(cert *x509.Certificate) bool {
	switch {
	case c.SPIFFEID != "":
		// A certificate with several URIs is no SPIFFE identity.
		return len(cert.URIs) == 1 && cert.URIs[0].String() == c.SPIFFEID
	case c.DNS != "":
		return slices.Contains(cert.DNSNames, c.DNS)
	case c.Email != "":
		return slices.Contains(cert.EmailAddresses, c.Email)
	}
	return false
}

// name is how logs call the caller.
func (c Certificate) name() string { return c.SPIFFEID + c.DNS + c.Email }

// certificateCaller returns the caller with a verified certificate, or nil: its name is
// that of the first identity it matches, its grants are those of all.
func (a *authenticator) certificateCaller(cert *x509.Certificate) *Caller {
	var names []string
	caller := &Caller{Method: MethodCertificate, Expires: cert.NotAfter}
	for _, identity := range a.config.Certificates {
		if !identity.matches(cert) {
			continue
		}
		if caller.Name == "" {
			caller.Name = identity.name()
		}
		names = append(names, identity.Grants...)
	}
	if names == nil {
		return nil
	}
	caller.Grants = a.grantsOf(names)
	return caller
}

func (v *validation) certificates(certificates []Certificate) {
	for i, c := range certificates {
		path := "certificates[" + strconv.Itoa(i) + "]"
		given := 0
		for _, name := range []string{c.SPIFFEID, c.DNS, c.Email} {
			if name != "" {
				given++
			}
		}
		id, err := url.Parse(c.SPIFFEID)
		switch {
		case given != 1:
			v.add(path, "give one of spiffe_id, dns and email: the name in the client certificate")
		case c.SPIFFEID != "" && (err != nil || id.Scheme != "spiffe" || id.Host == "" || id.String() != c.SPIFFEID):
			v.add(path+".spiffe_id", "%q is no SPIFFE ID: give one such as spiffe://example.com/billing", c.SPIFFEID)
		}
		v.granted(path, c.Grants)
	}
}
