package access

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// algorithms are those of asymmetric signatures: one who can verify a token cannot
// make it.
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
}

// An issuer verifies the JWTs of one issuer.
type issuer struct {
	verifier *oidc.IDTokenVerifier
	keys     *keySet
	cache    jwtCache
}

// newIssuer returns the issuer of a configuration. What it publishes is asked for when
// the first token comes; a file is read at once.
func newIssuer(config OIDC, logger *slog.Logger) (*issuer, error) {
	keys := newKeySet(fetchKeys(config.Issuer), logger)
	if config.JWKSFile != "" {
		var err error
		if keys, err = newFileKeySet(config.JWKSFile, logger); err != nil {
			return nil, fielderr.New("access.oidc.jwks_file", "%v", err)
		}
	}
	return &issuer{keys: keys, verifier: oidc.NewVerifier(config.Issuer, keys, &oidc.Config{
		ClientID: config.Audience, SupportedSigningAlgs: config.Algorithms,
	})}, nil
}

// A jwt is a token that was verified.
type jwt struct {
	subject string
	expires time.Time
	claims  map[string]any
}

// verify verifies a token. Its errors are errUnavailable, errExpired and errInvalid.
func (i *issuer) verify(ctx context.Context, token string) (*jwt, error) {
	generation := i.keys.freshen(ctx)
	sum := sha256.Sum256([]byte(token))
	if known := i.cache.get(sum, generation); known != nil {
		return known, nil // whether it has expired is seen later
	}
	var unavailable bool
	verified, err := i.verifier.Verify(withUnavailable(ctx, &unavailable), token)
	var expired *oidc.TokenExpiredError
	switch {
	case unavailable:
		return nil, errUnavailable()
	case errors.As(err, &expired):
		return nil, errExpired()
	case err != nil:
		return nil, errInvalid()
	}
	j := &jwt{subject: verified.Subject, expires: verified.Expiry}
	if verified.Claims(&j.claims) != nil {
		return nil, errInvalid()
	}
	i.cache.put(sum, generation, j)
	return j, nil
}

// has reports whether a claim is a text, or has it in a list.
func (j *jwt) has(claim, value string) bool {
	found, ok := j.claims[claim]
	if !ok {
		found = within(j.claims, strings.Split(claim, "."))
	}
	switch found := found.(type) {
	case string:
		return found == value
	case []any:
		return slices.Contains(found, any(value))
	}
	return false
}

// within returns the value at a path, or nil.
func within(claims map[string]any, path []string) any {
	for _, name := range path[:len(path)-1] {
		inner, ok := claims[name].(map[string]any)
		if !ok {
			return nil
		}
		claims = inner
	}
	return claims[path[len(path)-1]]
}

// jwtCaller returns the caller with a verified token, or nil: it has the grants of all
// identities it matches.
func (a *authenticator) jwtCaller(j *jwt) *Caller {
	var names []string
	for _, identity := range a.config.OIDC.Identities {
		if j.has(identity.Claim, identity.Value) {
			names = append(names, identity.Grants...)
		}
	}
	if names == nil {
		return nil
	}
	return &Caller{Name: j.subject, Method: MethodOIDC, Expires: j.expires, Grants: a.grantsOf(names)}
}

// looksLikeJWT reports whether a token may be one.
func looksLikeJWT(token string) bool { return strings.Count(token, ".") == 2 }

func (v *validation) oidc(c OIDC) {
	if c.Issuer == "" {
		if c.JWKSFile != "" || c.Audience != "" || len(c.Identities) > 0 {
			v.add("oidc.issuer", "give the URL of the issuer, as it is in its tokens")
		}
		return
	}
	if err := checkURL(c.Issuer); err != nil {
		v.add("oidc.issuer", "%v", err)
	}
	if c.Audience == "" {
		v.add("oidc.audience", "give the audience that tokens for this gateway have: without it, tokens for others would do")
	}
	if len(c.Algorithms) == 0 {
		v.add("oidc.algorithms", "give at least one of %s", strings.Join(algorithms, ", "))
	}
	for i, algorithm := range c.Algorithms {
		if !slices.Contains(algorithms, algorithm) {
			v.add("oidc.algorithms["+strconv.Itoa(i)+"]", "%q is not accepted: choose from %s", algorithm, strings.Join(algorithms, ", "))
		}
	}
	if len(c.Identities) == 0 {
		v.add("oidc.identities", "say who is granted what, such as [{claim: sub, value: billing, grants: [...]}]")
	}
	for i, identity := range c.Identities {
		path := "oidc.identities[" + strconv.Itoa(i) + "]"
		if identity.Claim == "" || identity.Value == "" {
			v.add(path, "give a claim and its value")
		}
		v.granted(path, identity.Grants)
	}
}

// checkURL refuses what keys must not be fetched from: anybody on the way could put
// others in their place.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return errors.New("it is no URL: give one such as https://login.example.com")
	}
	ip, _ := netip.ParseAddr(u.Hostname()) // a name has none
	if u.Scheme != "https" && (u.Scheme != "http" || !ip.IsLoopback() && u.Hostname() != "localhost") {
		return errors.New("it must begin with https://, but on this machine")
	}
	return nil
}

// decode is json.Unmarshal for what an issuer says.
func decode(text []byte, into any) error {
	if json.Unmarshal(text, into) != nil {
		return errors.New("it is not JSON of the expected form")
	}
	return nil
}
