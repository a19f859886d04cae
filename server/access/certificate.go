package access

import (
	"crypto/x509"
	"net/url"
	"slices"
	"strconv"
)

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
