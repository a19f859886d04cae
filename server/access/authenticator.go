package access

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"time"
)

// An authenticator knows who has which credentials, by one configuration. It never
// changes.
type authenticator struct {
	config Config
	grants map[string]*Grant
	tokens []knownToken
	issuer *issuer // nil: no JWT is accepted
	// anybody is everyone, where nothing is configured; nil otherwise.
	anybody *Caller
}

// newAuthenticator returns the authenticator of a configuration. What is as it was
// before keeps its identity: the same grant is the same pointer, and the keys of an
// issuer stay cached. before may be nil.
func newAuthenticator(config Config, before *authenticator, logger *slog.Logger) (*authenticator, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if before == nil {
		before = &authenticator{}
	}
	a := &authenticator{config: config, grants: make(map[string]*Grant)}
	if !config.Enabled() {
		a.anybody = Anybody()
		return a, nil
	}
	for name, given := range config.Grants {
		grant, err := given.grant(name)
		if err != nil {
			return nil, err
		}
		if old, ok := before.grants[name]; ok && reflect.DeepEqual(given, before.config.Grants[name]) {
			grant = old
		}
		a.grants[name] = grant
	}
	for _, name := range slices.Sorted(maps.Keys(config.Tokens)) {
		token := config.Tokens[name]
		sum, err := parseSum(token.SHA256)
		if err != nil {
			return nil, err
		}
		a.tokens = append(a.tokens, knownToken{sum: sum, caller: &Caller{
			Name: name, Method: MethodToken, Expires: token.Expires.Time, Grants: a.grantsOf(token.Grants),
		}})
	}
	return a, a.setIssuer(before, logger)
}

func (a *authenticator) setIssuer(before *authenticator, logger *slog.Logger) (err error) {
	if a.config.OIDC.Issuer == "" {
		return nil
	}
	given, old := a.config.OIDC, before.config.OIDC
	given.Identities, old.Identities = nil, nil
	if before.issuer != nil && reflect.DeepEqual(given, old) {
		a.issuer = before.issuer
		return nil
	}
	a.issuer, err = newIssuer(given, logger)
	return err
}

// grantsOf returns the grants with some names, each once, in the order of their names.
func (a *authenticator) grantsOf(names []string) []*Grant {
	var grants []*Grant
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		grants = append(grants, a.grants[name])
	}
	return grants
}

// presented are the credentials that a call comes with.
type presented struct {
	// authorization are the headers of that name.
	authorization []string
	// certificate is that of the client, verified; nil if it has none.
	certificate *shownCertificate
}

// A proof is what was shown of who calls: one of its fields is set, or none, where
// nobody is asked. It outlives the configuration by which it was checked.
type proof struct {
	token       *[sha256.Size]byte
	jwt         *jwt
	issuer      *issuer // who verified the JWT
	certificate *shownCertificate
	// own is a caller that is a part of the gateway itself.
	own *Caller
}

// prove checks credentials, but not what they are worth. A token wins over a
// certificate.
func (a *authenticator) prove(ctx context.Context, c presented) (proof, error) {
	switch {
	case a.anybody != nil:
		return proof{}, nil
	case len(c.authorization) > 1:
		return proof{}, errInvalid()
	case len(c.authorization) == 1:
		token, ok := bearer(c.authorization[0])
		switch {
		case ok && tokenFormat.MatchString(token):
			sum := sha256.Sum256([]byte(token))
			return proof{token: &sum}, nil
		case ok && a.issuer != nil && looksLikeJWT(token):
			verified, err := a.issuer.verify(ctx, token)
			return proof{jwt: verified, issuer: a.issuer}, err
		}
		return proof{}, errInvalid()
	case c.certificate != nil:
		return proof{certificate: c.certificate}, nil
	}
	return proof{}, errMissing()
}

// caller returns who has shown a proof. Its errors are statuses.
func (a *authenticator) caller(p proof) (*Caller, error) {
	var caller *Caller
	switch {
	case p.own != nil:
		caller = p.own
	case a.anybody != nil:
		caller = a.anybody
	case p.token != nil:
		caller = findToken(a.tokens, *p.token)
	case p.jwt != nil && p.issuer == a.issuer:
		caller = a.jwtCaller(p.jwt)
	case p.certificate != nil && p.certificate.vouched():
		caller = a.certificateCaller(p.certificate.leaf())
	}
	switch {
	case caller == nil:
		return nil, errInvalid()
	case !caller.Expires.IsZero() && !time.Now().Before(caller.Expires):
		return nil, errExpired()
	}
	return caller, nil
}

// same reports whether two callers are one, and may the same.
func same(a, b *Caller) bool {
	return a.Name == b.Name && a.Method == b.Method && a.Expires.Equal(b.Expires) && slices.Equal(a.Grants, b.Grants)
}
