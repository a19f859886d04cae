package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// TestHostileIssuers: what an issuer answers is read up to a bound, and is not fetched from
// where anybody on the way could have written it.
func TestHostileIssuers(t *testing.T) {
	var sent atomic.Int64
	flood := func(w http.ResponseWriter, _ *http.Request) {
		chunk := []byte(strings.Repeat(" ", 64<<10))
		for range 64 << 20 / len(chunk) {
			n, err := w.Write(chunk)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	}
	serve := func(discovery, keys http.HandlerFunc) string {
		mux := http.NewServeMux()
		mux.HandleFunc("/.well-known/openid-configuration", discovery)
		mux.HandleFunc("/keys", keys)
		s := httptest.NewServer(mux)
		t.Cleanup(s.Close)
		return s.URL
	}
	discovery := func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": "http://" + r.Host, "jwks_uri": "http://" + r.Host + "/keys"})
	}
	for name, tc := range map[string]struct{ issuer, want string }{
		"a discovery without end":   {serve(flood, flood), "too large"},
		"keys without end":          {serve(discovery, flood), "too large"},
		"keys over plain HTTP":      {serve(discovery, http.RedirectHandler("http://keys.example.com/", http.StatusFound).ServeHTTP), "https"},
		"a discovery in plain HTTP": {serve(http.RedirectHandler("http://login.example.com/", http.StatusFound).ServeHTTP, flood), "https"},
		"redirects without end":     {serve(discovery, http.RedirectHandler("/keys", http.StatusFound).ServeHTTP), "redirects more than"},
	} {
		t.Run(name, func(t *testing.T) {
			sent.Store(0)
			if _, err := fetchKeys(tc.issuer)(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			if n := sent.Load(); n > 16<<20 { // what the kernel buffers is beyond the bound
				t.Errorf("%d bytes were taken", n)
			}
		})
	}
}

// signer is an issuer of tokens: it publishes its keys, and signs.
type signer struct {
	*httptest.Server

	mu      sync.Mutex
	keys    []jose.JSONWebKey // private; the last signs
	down    bool
	fetched int
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	s := &signer{}
	s.rotate(t, "first")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": s.URL, "jwks_uri": s.URL + "/keys", "authorization_endpoint": s.URL, "id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.fetched++
		if s.down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(s.set())
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// rotate makes a new key, which is the only one published.
func (s *signer) rotate(t testing.TB, id string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, jose.JSONWebKey{Key: key, KeyID: id, Algorithm: "ES256", Use: "sig"})
}

func (s *signer) last() *jose.JSONWebKey { return &s.keys[len(s.keys)-1] }

// set returns the published keys, with some of kinds that nobody here knows.
func (s *signer) set() []byte {
	text, _ := json.Marshal(map[string]any{"keys": []any{ // public keys always encode
		map[string]any{"kty": "OKP", "crv": "X448", "x": "AA"}, map[string]any{"kty": "oct", "k": "c2VjcmV0"}, s.last().Public(),
	}})
	return text
}

// sign returns a token with the claims of a good one, but for some.
func (s *signer) sign(t testing.TB, changed map[string]any) string {
	t.Helper()
	return signWith(t, jose.SigningKey{Algorithm: jose.ES256, Key: s.last()}, s.claims(changed))
}

func (s *signer) claims(changed map[string]any) map[string]any {
	claims := map[string]any{
		"iss": s.URL, "aud": []string{"others", "webhook-gateway"}, "sub": "jane", "groups": []string{"x", "data-team"},
		"exp": time.Now().Add(time.Hour).Unix(), "realm_access": map[string]any{"roles": []string{"operator"}},
	}
	maps.Copy(claims, changed)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return claims
}

func signWith(t testing.TB, key jose.SigningKey, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (s *signer) config() Config {
	config := DefaultConfig()
	config.OIDC.Issuer, config.OIDC.Audience = s.URL, "webhook-gateway"
	config.OIDC.Identities = []Identity{
		{Claim: "groups", Value: "data-team", Grants: []string{"read"}}, {Claim: "realm_access.roles", Value: "operator", Grants: []string{"operate", "read"}},
	}
	config.Grants = map[string]GrantConfig{"read": {Filters: []FilterConfig{{}}}, "operate": {Operator: true}}
	return config
}

// who returns the caller with a token, or the reason why there is none.
func who(c *Control, token string) (*Caller, string) {
	call, err := c.identify(context.Background(), presented{authorization: []string{"Bearer " + token}}, "", "")
	if err != nil {
		return nil, rpcerr.Name(rpcerr.Reason(err))
	}
	return call.caller, ""
}

func TestTokensOfAnIssuer(t *testing.T) {
	s := newSigner(t)
	c, _ := newControl(t, s.config())
	expires := time.Now().Add(time.Minute).Truncate(time.Second)
	caller, refused := who(c, s.sign(t, map[string]any{"exp": expires.Unix()}))
	if refused != "" || caller.Name != "jane" || caller.Method != MethodOIDC || !caller.Expires.Equal(expires) ||
		len(caller.Grants) != 2 || caller.Grants[0].Name != "operate" || caller.Grants[1].Name != "read" {
		t.Fatalf("%+v %s", caller, refused)
	}
	if caller, refused := who(c, s.sign(t, map[string]any{"realm_access": nil})); refused != "" || len(caller.Grants) != 1 {
		t.Errorf("of the group alone: %+v %s", caller, refused)
	}

	brief := s.sign(t, map[string]any{"exp": time.Now().Add(2 * time.Second).Unix()})
	_, refused = who(c, brief)
	for deadline := time.Now().Add(10 * time.Second); refused == "" && time.Now().Before(deadline); {
		_, refused = who(c, brief)
	}
	if refused != "CREDENTIALS_EXPIRED" {
		t.Errorf("a known token after its time: %q", refused)
	}

	public, err := x509.MarshalPKIXPublicKey(s.last().Public().Key)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := s.sign(t, nil)
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	for name, token := range map[string]string{
		"another issuer":        s.sign(t, map[string]any{"iss": "https://login.example.net"}),
		"another audience":      s.sign(t, map[string]any{"aud": "others"}),
		"no audience":           s.sign(t, map[string]any{"aud": nil}),
		"not yet":               s.sign(t, map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}),
		"nobody granted":        s.sign(t, map[string]any{"groups": "x", "realm_access": "operator"}),
		"alg none":              none,
		"without a signature":   parts[0] + "." + parts[1] + ".",
		"another's signature":   signWith(t, jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: stranger, KeyID: "first"}}, s.claims(nil)),
		"the public key as HS":  signWith(t, jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: public, KeyID: "first"}}, s.claims(nil)),
		"the issuer's HS key":   signWith(t, jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: []byte("secretsecretsecretsecretsecretse"), KeyID: ""}}, s.claims(nil)),
		"other claims":          parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"root"}`)) + "." + parts[2],
		"an algorithm not here": strings.Replace(good, parts[0], base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS512"}`)), 1),
		"no token":              "..",
	} {
		if caller, refused := who(c, token); refused != "CREDENTIALS_INVALID" {
			t.Errorf("%s: %+v %s", name, caller, refused)
		}
	}
	for name, exp := range map[string]any{"expired": time.Now().Add(-time.Second).Unix(), "never expires": nil} {
		if caller, refused := who(c, s.sign(t, map[string]any{"exp": exp})); refused != "CREDENTIALS_EXPIRED" {
			t.Errorf("%s: %+v %s", name, caller, refused)
		}
	}
}

// TestKeysAreRotated: a new key is fetched when it is seen, not more often than is good
// for the issuer, and one that was taken back is forgotten.
func TestKeysAreRotated(t *testing.T) {
	s := newSigner(t)
	c, log := newControl(t, s.config())
	keys := c.current.issuer.keys
	forget := func() { // as if time had passed
		keys.loading.Lock()
		defer keys.loading.Unlock()
		keys.tried = keys.tried.Add(-keysMaxAge)
	}
	old := s.sign(t, nil)
	if _, refused := who(c, old); refused != "" {
		t.Fatal(refused)
	}
	s.rotate(t, "second")
	keys.loading.Lock()
	keys.tried = time.Now() // however long a busy machine took
	keys.loading.Unlock()
	if _, refused := who(c, s.sign(t, nil)); refused != "CREDENTIALS_INVALID" || s.fetched != 1 {
		t.Errorf("at once after a fetch: %q, %d fetches", refused, s.fetched)
	}
	forget()
	// Before any other token makes room for itself among those that are remembered.
	if _, refused := who(c, old); refused != "CREDENTIALS_INVALID" {
		t.Errorf("the key that was taken back: %q", refused)
	}
	for range 3 {
		if _, refused := who(c, s.sign(t, nil)); refused != "" || s.fetched != 2 {
			t.Errorf("the new key: %q, %d fetches", refused, s.fetched)
		}
	}

	// While the issuer is down its known keys are good, and others are not decided.
	s.mu.Lock()
	s.down = true
	s.mu.Unlock()
	forget()
	if _, refused := who(c, s.sign(t, nil)); refused != "" {
		t.Errorf("a known key while the issuer is down: %q", refused)
	}
	s.rotate(t, "third")
	if _, refused := who(c, s.sign(t, nil)); refused != "ISSUER_UNAVAILABLE" {
		t.Errorf("an unknown key while the issuer is down: %q", refused)
	}
	if !strings.Contains(log.String(), "the keys of the issuer of tokens could not be loaded") {
		t.Errorf("nobody is told: %s", log.String())
	}

	// What has not changed keeps its keys when the configuration is replaced.
	config := s.config()
	config.OIDC.Identities = config.OIDC.Identities[:1]
	delete(config.Grants, "operate")
	replace(t, c, config)
	if c.current.issuer.keys != keys {
		t.Error("the keys were forgotten with the configuration")
	}
}

// TestKeysOfAFile: a file with keys is read again when it changes; a bad one changes
// nothing.
func TestKeysOfAFile(t *testing.T) {
	s := newSigner(t)
	config := s.config()
	config.OIDC.JWKSFile = filepath.Join(t.TempDir(), "keys.json")
	write := func(text []byte) {
		t.Helper()
		replaced := config.OIDC.JWKSFile + ".new"
		if err := os.WriteFile(replaced, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(replaced, config.OIDC.JWKSFile); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"", "{}", `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`, "no"} {
		write([]byte(text))
		if _, err := New(config, Roots{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err == nil {
			t.Errorf("%q is taken for keys", text)
		}
		if err := os.Remove(config.OIDC.JWKSFile); err != nil {
			t.Fatal(err)
		}
	}
	write(s.set())
	c, log := newControl(t, config)
	old := s.sign(t, nil)
	if _, refused := who(c, old); refused != "" {
		t.Error(refused)
	}
	s.rotate(t, "second")
	write(s.set())
	if _, refused := who(c, s.sign(t, nil)); refused != "" {
		t.Errorf("the new key: %s", refused)
	}
	if _, refused := who(c, old); refused != "CREDENTIALS_INVALID" {
		t.Errorf("the old key: %q", refused)
	}
	write([]byte("{"))
	if _, refused := who(c, s.sign(t, nil)); refused != "" || !strings.Contains(log.String(), "no JSON Web Key Set") {
		t.Errorf("after a bad file: %q\n%s", refused, log)
	}
	// A bad file stays one, also when it is looked at again: the new key may be in the good one.
	s.rotate(t, "third")
	for range 2 {
		if _, refused := who(c, s.sign(t, nil)); refused != "ISSUER_UNAVAILABLE" {
			t.Errorf("a key of nobody knows whom, after a bad file: %q", refused)
		}
	}
	if s.fetched > 0 {
		t.Error("the issuer was asked for its keys")
	}
}
