package access

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// Config says who may call the internal ports, and what each caller may. The zero
// Config controls nothing: everybody may everything.
type Config struct {
	// Insecure lets everybody who reaches the internal ports do everything, on whatever
	// addresses they listen.
	Insecure bool `yaml:"insecure"`
	// Tokens are bearer tokens by name.
	Tokens map[string]Token `yaml:"tokens"`
	// OIDC accepts JWTs of an issuer.
	OIDC OIDC `yaml:"oidc"`
	// Certificates accepts client certificates by what they name.
	Certificates []Certificate `yaml:"certificates"`
	// Grants are what callers may, by name.
	Grants map[string]GrantConfig `yaml:"grants"`
}

// Token is a bearer token.
type Token struct {
	// SHA256 of the token, in hex.
	SHA256 string `yaml:"sha256"`
	// Grants by name.
	Grants []string `yaml:"grants"`
	// Expires is when the token does. Zero: never.
	Expires Time `yaml:"expires,omitempty"`
}

// Time is a point in time, or a day (UTC), in the configuration.
type Time struct{ time.Time }

// UnmarshalText accepts a time such as 2027-01-31T12:00:00Z, and a day such as
// 2027-01-31, which is its beginning in UTC.
func (t *Time) UnmarshalText(text []byte) error {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if parsed, err := time.Parse(layout, string(text)); err == nil {
			t.Time = parsed
			return nil
		}
	}
	return errors.New("give a time such as 2027-01-31T12:00:00Z, or a day such as 2027-01-31")
}

// MarshalText returns the time as UnmarshalText accepts it.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.Format(time.RFC3339)), nil }

// OIDC says which JWTs are accepted.
type OIDC struct {
	// Issuer is who signs the tokens, as it is in them: an https URL. Empty: no JWT is
	// accepted.
	Issuer string `yaml:"issuer"`
	// JWKSFile has the keys of the issuer. It is read again when it changes. Empty: the
	// keys are those that the issuer publishes.
	JWKSFile string `yaml:"jwks_file"`
	// Audience must be one of the token's.
	Audience string `yaml:"audience"`
	// Algorithms of signatures that are accepted.
	Algorithms []string `yaml:"algorithms"`
	// Identities say who is granted what. A caller has the grants of all that it matches.
	Identities []Identity `yaml:"identities"`
}

// Identity is a caller, or many, known by a claim.
type Identity struct {
	// Claim is the name of a claim, or names with dots between them for one within
	// another.
	Claim string `yaml:"claim"`
	// Value must be that of the claim, or in it if it is a list.
	Value string `yaml:"value"`
	// Grants by name.
	Grants []string `yaml:"grants"`
}

// Certificate is a caller that is known by one name in its client certificate.
type Certificate struct {
	// SPIFFEID such as spiffe://example.com/billing.
	SPIFFEID string `yaml:"spiffe_id,omitempty"`
	// DNS name, exactly as in the certificate.
	DNS string `yaml:"dns,omitempty"`
	// Email address.
	Email string `yaml:"email,omitempty"`
	// Grants by name.
	Grants []string `yaml:"grants"`
}

// DefaultConfig accepts nobody's credentials, and controls nothing.
func DefaultConfig() Config {
	return Config{OIDC: OIDC{Algorithms: []string{"RS256", "ES256"}}}
}

// Enabled reports whether callers need credentials.
func (c Config) Enabled() bool {
	return len(c.Tokens) > 0 || c.OIDC.Issuer != "" || len(c.Certificates) > 0
}

// Validate returns all that is wrong with the configuration. Files are not looked at.
func (c Config) Validate() error {
	v := validation{grants: c.Grants, used: make(map[string]bool)}
	if c.Insecure && c.Enabled() {
		v.add("insecure", "callers have credentials, so remove insecure: everybody could do without them")
	}
	v.tokens(c.Tokens)
	v.oidc(c.OIDC)
	v.certificates(c.Certificates)
	for _, name := range slices.Sorted(maps.Keys(c.Grants)) {
		path := "grants." + fielderr.Key(name)
		if _, err := c.Grants[name].grant(name); err != nil {
			v.errs = append(v.errs, fielderr.In(path, err))
		}
		if !v.used[name] {
			v.add(path, "nobody has this grant: name it in the grants of a token, an identity or a certificate, or remove it")
		}
	}
	return errors.Join(v.errs...)
}

// validation collects what is wrong.
type validation struct {
	errs   []error
	grants map[string]GrantConfig
	used   map[string]bool
}

func (v *validation) add(path, format string, args ...any) {
	v.errs = append(v.errs, fielderr.New(path, format, args...))
}

// granted checks the names of the grants of a caller.
func (v *validation) granted(path string, names []string) {
	if len(names) == 0 {
		v.add(path+".grants", "name at least one grant: without any, the caller may nothing")
	}
	for i, name := range names {
		at := path + ".grants[" + strconv.Itoa(i) + "]"
		switch _, ok := v.grants[name]; {
		case !ok:
			v.add(at, "%q is no grant: those in access.grants are %s", name, known(v.grants))
		case slices.Contains(names[:i], name):
			v.add(at, "%q is there twice", name)
		}
		v.used[name] = true
	}
}

func known(grants map[string]GrantConfig) string {
	if len(grants) == 0 {
		return "none"
	}
	return fmt.Sprint(slices.Sorted(maps.Keys(grants)))
}
