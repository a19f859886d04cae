package access

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	token, sum := NewToken()
	grants := map[string]GrantConfig{"all": {Filters: []FilterConfig{{}}}}
	all := []string{"all"}
	certified := []Certificate{{DNS: "a.example.com", Grants: all}}
	for name, tc := range map[string]struct {
		config Config
		want   string
	}{
		"insecure with credentials": {
			Config{Insecure: true, Certificates: certified, Grants: grants}, "insecure: callers have credentials, so remove insecure",
		},
		"the token itself": {
			Config{Tokens: map[string]Token{"a": {SHA256: token, Grants: all}}, Grants: grants}, "tokens.a.sha256: this is a token: it is known to whoever reads this file",
		},
		"no SHA-256": {
			Config{Tokens: map[string]Token{"a b": {SHA256: sum[1:], Grants: all}}, Grants: grants}, `tokens."a b".sha256: give the SHA-256 of a token, 64 hexadecimal digits`,
		},
		"one token twice": {
			Config{Tokens: map[string]Token{"a": {SHA256: sum, Grants: all}, "b": {SHA256: strings.ToUpper(sum), Grants: all}}, Grants: grants},
			"tokens.b.sha256: this is the token of access.tokens.a too",
		},
		"no name":          {Config{Tokens: map[string]Token{"": {SHA256: sum, Grants: all}}, Grants: grants}, `tokens."": give the token a name`},
		"no grants":        {Config{Tokens: map[string]Token{"a": {SHA256: sum}}}, "tokens.a.grants: name at least one grant"},
		"an unknown grant": {Config{Tokens: map[string]Token{"a": {SHA256: sum, Grants: []string{"al"}}}, Grants: grants}, `tokens.a.grants[0]: "al" is no grant: those in access.grants are [all]`},
		"a grant twice":    {Config{Tokens: map[string]Token{"a": {SHA256: sum, Grants: []string{"all", "all"}}}, Grants: grants}, `tokens.a.grants[1]: "all" is there twice`},
		"nobody's grant":   {Config{Grants: grants}, "grants.all: nobody has this grant"},
		"no issuer":        {Config{OIDC: OIDC{Audience: "x"}}, "oidc.issuer: give the URL of the issuer"},
		"an issuer in plain text": {
			Config{OIDC: OIDC{Issuer: "http://login.example.com"}}, "oidc.issuer: it must begin with https://",
		},
		"an issuer that is no URL": {Config{OIDC: OIDC{Issuer: "login"}}, "oidc.issuer: it is no URL"},
		"no audience":              {Config{OIDC: OIDC{Issuer: "https://login.example.com"}}, "oidc.audience: give the audience"},
		"no algorithm":             {Config{OIDC: OIDC{Issuer: "https://login.example.com"}}, "oidc.algorithms: give at least one of RS256"},
		"an algorithm with a shared secret": {
			Config{OIDC: OIDC{Issuer: "https://login.example.com", Algorithms: []string{"RS256", "HS256"}}}, `oidc.algorithms[1]: "HS256" is not accepted`,
		},
		"no algorithm at all": {
			Config{OIDC: OIDC{Issuer: "https://login.example.com", Algorithms: []string{"none"}}}, `oidc.algorithms[0]: "none" is not accepted`,
		},
		"nobody of an issuer": {Config{OIDC: OIDC{Issuer: "https://login.example.com"}}, "oidc.identities: say who is granted what"},
		"no claim": {
			Config{OIDC: OIDC{Issuer: "https://login.example.com", Identities: []Identity{{Value: "x", Grants: all}}}, Grants: grants},
			"oidc.identities[0]: give a claim and its value",
		},
		"no name in a certificate": {Config{Certificates: []Certificate{{Grants: all}}, Grants: grants}, "certificates[0]: give one of spiffe_id, dns and email"},
		"two names in a certificate": {
			Config{Certificates: []Certificate{{DNS: "a", Email: "b", Grants: all}}, Grants: grants}, "certificates[0]: give one of spiffe_id, dns and email",
		},
		"no SPIFFE ID": {
			Config{Certificates: []Certificate{{SPIFFEID: "https://example.com/a", Grants: all}}, Grants: grants}, `certificates[0].spiffe_id: "https://example.com/a" is no SPIFFE ID`,
		},
		"a filter that excludes nobody": {
			Config{Grants: map[string]GrantConfig{"a": {Filters: []FilterConfig{{ExcludeClientIDs: []string{}}}}}},
			"grants.a.filters[0].exclude_client_ids: the list is empty",
		},
		"a filter that names and excludes clients": {
			Config{Grants: map[string]GrantConfig{"a": {Filters: []FilterConfig{{ClientIDs: []string{"a"}, ExcludeClientIDs: []string{"b"}}}}}},
			"grants.a.filters[0].exclude_client_ids: client_ids names the clients already",
		},
		"a grant of nothing": {Config{Grants: map[string]GrantConfig{"a": {}}}, "grants.a: it grants nothing"},
		"words that nobody knows": {
			Config{Grants: map[string]GrantConfig{"a": {
				Filters: []FilterConfig{{}, {Providers: []string{"finicty"}, EventTypes: []string{"added", "adde"}, Verdicts: []string{"ok"}}}, Views: []string{"all"},
			}}},
			`grants.a.filters[1].providers[0]: "finicty" is no provider: choose from finicity, vezgo
grants.a.filters[1].event_types[1]: "adde" is no event type: choose from`,
		},
		"a verdict that nobody knows": {Config{Grants: map[string]GrantConfig{"a": {Filters: []FilterConfig{{Verdicts: []string{"ok"}}}}}}, `grants.a.filters[0].verdicts[0]: "ok" is no verdict`},
		"a view that nobody knows":    {Config{Grants: map[string]GrantConfig{"a": {Filters: []FilterConfig{{}}, Views: []string{"all"}}}}, `grants.a.views[0]: "all" is no view`},
		"a view of nothing":           {Config{Grants: map[string]GrantConfig{"a": {Views: []string{"raw"}, Operator: true}}}, "grants.a.filters: say which events may be read"},
		"a condition of nothing": {
			Config{Grants: map[string]GrantConfig{"a": {Filters: []FilterConfig{{Providers: []string{"vezgo"}, EventTypes: []string{"finicity.added"}}}}}}, "grants.a.filters[0]",
		},
		"lists of nothing": {
			Config{Grants: map[string]GrantConfig{"a": {Filters: []FilterConfig{{
				Providers: []string{}, EventTypes: []string{}, ClientIDs: []string{}, Subjects: []string{}, Verdicts: []string{},
			}}}}},
			`grants.a.filters[0].providers: the list is empty: name something, or leave providers out if nothing is to be restricted
grants.a.filters[0].event_types: the list is empty: name something, or leave event_types out if nothing is to be restricted
grants.a.filters[0].verdicts: the list is empty: name something, or leave verdicts out if nothing is to be restricted
grants.a.filters[0].client_ids: the list is empty: name something, or leave client_ids out if nothing is to be restricted
grants.a.filters[0].subjects: the list is empty`,
		},
		"no views": {
			Config{Grants: map[string]GrantConfig{"a": {Filters: []FilterConfig{{}}, Views: []string{}}}}, "grants.a.views: the list is empty",
		},
		"raw, and masked": {
			Config{Grants: map[string]GrantConfig{"a": {Filters: []FilterConfig{{}}, Views: []string{"raw"}, Mask: []string{"subject"}}}}, "grants.a.views[0]",
		},
	} {
		err := tc.config.Validate()
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
			continue
		}
		if strings.Contains(err.Error(), token) {
			t.Errorf("%s: the error has the token", name)
		}
		if _, err := newAuthenticator(tc.config, nil, nil); err == nil {
			t.Errorf("%s: it is put in force", name)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
}

func TestGrantOfConfig(t *testing.T) {
	t.Parallel()
	grant, err := GrantConfig{
		Filters: []FilterConfig{{
			Providers: []string{"finicity"}, EventTypes: []string{"added", "finicity.done", "unrecognized"}, ClientIDs: []string{"acme"},
			Subjects: []string{"7"}, Verdicts: []string{"verified", "not-checked"},
		}},
		Subscriptions: []SubscriptionConfig{{Prefix: "billing-"}, {Prefix: "team-", Manage: true}}, Operator: true,
	}.grant("billing")
	if err != nil {
		t.Fatal(err)
	}
	want := []*webhookgatewayv1.EventFilter{{
		Providers: []webhookgatewayv1.Provider{webhookgatewayv1.Provider_PROVIDER_FINICITY},
		EventTypes: []webhookgatewayv1.EventType{
			webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED, webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_DONE, webhookgatewayv1.EventType_EVENT_TYPE_UNRECOGNIZED,
		},
		ClientIds: []string{"acme"}, Subjects: []string{"7"},
		Verdicts: []webhookgatewayv1.VerificationVerdict{
			webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED, webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_NOT_CHECKED,
		},
	}}
	if diff := cmp.Diff(want, grant.Filters, protocmp.Transform()); diff != "" {
		t.Errorf("filters (-want +got):\n%s", diff)
	}
	if len(grant.Views) != 2 || grant.Subscriptions[0].Manage || !grant.Subscriptions[1].Manage || !grant.Operator || grant.Name != "billing" {
		t.Errorf("the grant is %v %v", grant.Views, grant.Subscriptions)
	}
}
