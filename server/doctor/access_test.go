package doctor

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/access"
)

// expectOne checks that there is only one finding.
func expectOne(t *testing.T, findings []Finding, status Status, text string) {
	t.Helper()
	if len(findings) != 1 {
		t.Errorf("%d findings: %+v", len(findings), findings)
		return
	}
	expect(t, findings[0], status, text)
}

// granted returns a valid configuration in which a token may read and another operates.
func granted() server.Config {
	config := server.DefaultConfig()
	config.Providers.Vezgo.Enabled, config.Providers.Vezgo.AnyClient = true, true
	_, one := access.NewToken()
	_, two := access.NewToken()
	config.Access.Tokens = map[string]access.Token{
		"billing": {SHA256: one, Grants: []string{"read"}},
		"ops":     {SHA256: two, Grants: []string{"operate"}},
	}
	config.Access.Grants = map[string]access.GrantConfig{
		"read":    {Filters: []access.FilterConfig{{}}},
		"operate": {Operator: true},
	}
	return config
}

func TestAccessThatIsOpen(t *testing.T) {
	now := time.Now()
	config := granted()
	config.Access = access.DefaultConfig()
	expectOne(t, checkAccess(t.Context(), config, now), OK, "only this machine reaches the internal ports")
	config.Listen.GRPC = ":9090"
	// By mistake: it is refused with the configuration.
	_, findings, ok := checkConfig(Options{Load: func() (server.Config, error) { return config, config.Validate() }})
	if ok {
		t.Error("it is valid")
	}
	expectOne(t, findings, Fail, "listen.grpc: \":9090\" can be reached by other machines")
	config.Access.Insecure = true
	expectOne(t, checkAccess(t.Context(), config, now), Warn, "listen.grpc (:9090) is insecure")
}

func TestGrantsThatNobodyHas(t *testing.T) {
	config := granted()
	config.Access.Grants["spare"] = access.GrantConfig{Operator: true}
	_, findings, _ := checkConfig(Options{Load: func() (server.Config, error) { return config, config.Validate() }})
	expectOne(t, findings, Fail, "access.grants.spare: nobody has this grant")
}

func TestTokensThatExpire(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		expires time.Time
		want    Status
		text    string
	}{
		{time.Time{}, OK, "none expires within 14 days"},
		{now.AddDate(0, 0, 15), OK, "none expires within 14 days"},
		{now.AddDate(0, 0, 13), Warn, "access.tokens.billing expires at 2026-01-14T00:00:00Z"},
		{now, Warn, "access.tokens.billing expired at 2026-01-01T00:00:00Z: its caller is refused"},
	} {
		config := granted()
		token := config.Access.Tokens["billing"]
		token.Expires = access.Time{Time: test.expires}
		config.Access.Tokens["billing"] = token
		expectOne(t, checkAccess(t.Context(), config, now), test.want, test.text)
	}
}

func TestCertificatesThatNobodyAsksFor(t *testing.T) {
	config := granted()
	config.Access.Certificates = []access.Certificate{{DNS: "a.example.com", Grants: []string{"read"}}}
	expectOne(t, checkAccess(t.Context(), config, time.Now()), Warn, "no internal listener asks for client certificates")
	config.TLS.GRPC.ClientCA = "roots.pem"
	expectOne(t, checkAccess(t.Context(), config, time.Now()), OK, "needs credentials")
}

func TestOperators(t *testing.T) {
	config := granted()
	expectOne(t, checkAccess(t.Context(), config, time.Now()), OK, "needs credentials")
	// Everybody is one.
	billing := config.Access.Tokens["billing"]
	billing.Grants = []string{"read", "operate"}
	config.Access.Tokens["billing"] = billing
	expectOne(t, checkAccess(t.Context(), config, time.Now()), Warn, "each of the 2 callers is an operator")
	// One alone may be.
	delete(config.Access.Tokens, "billing")
	expectOne(t, checkAccess(t.Context(), config, time.Now()), OK, "needs credentials")
	// Who has any token of the issuer.
	config.Access.OIDC.Identities = []access.Identity{
		{Claim: "aud", Value: "gateway", Grants: []string{"read"}}, {Claim: "iss", Value: "https://login.example.com", Grants: []string{"operate"}},
	}
	expectOne(t, judgeOperators(config.Access), Warn, "access.oidc.identities[1]: every token of the issuer has iss https://login.example.com")
	config.Access.OIDC.Identities[1].Claim = "role"
	if findings := judgeOperators(config.Access); len(findings) > 0 {
		t.Errorf("%+v", findings)
	}
}

const keySet = `{"keys": [{"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`

func TestIssuer(t *testing.T) {
	keys := keySet
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	defer s.Close()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"issuer": "` + s.URL + `", "jwks_uri": "` + s.URL + `/keys"}`))
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(keys)) })
	check := func(issuer, file string) []Finding {
		return checkIssuer(t.Context(), access.OIDC{Issuer: issuer, JWKSFile: file})
	}
	if findings := check("", ""); findings != nil {
		t.Errorf("without an issuer: %+v", findings)
	}
	expectOne(t, check(s.URL, ""), OK, "answers, with 1 key")
	keys = `{"keys": []}`
	expectOne(t, check(s.URL, ""), Fail, "has no public key")
	expectOne(t, check(s.URL+"/", ""), Fail, "the keys of the issuer cannot be fetched, so its callers are refused: ") // it names itself otherwise
	expectOne(t, check("http://127.0.0.1:1", ""), Fail, "connection refused")

	file := filepath.Join(t.TempDir(), "keys.json")
	expectOne(t, check(s.URL, file), Fail, "access.oidc.jwks_file: "+file+" cannot be looked at")
	for _, test := range []struct {
		text string
		mode os.FileMode
		want Status
		says string
	}{
		{strings.Replace(keySet, "[", "["+keySet[len(`{"keys": [`):len(keySet)-2]+",", 1), 0o644, OK, "access.oidc.jwks_file has 2 keys"},
		{keySet, 0o646, Fail, "everybody on this machine can change it"},
		{"keys", 0o644, Fail, "no JSON Web Key Set"},
	} {
		if err := errors.Join(os.WriteFile(file, []byte(test.text), 0o600), os.Chmod(file, test.mode)); err != nil {
			t.Fatal(err)
		}
		expectOne(t, check(s.URL, file), test.want, test.says)
	}
}
