package finicity_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/provider/providertest"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

const (
	currentSecret  = "current-partner-secret"
	previousSecret = "previous-partner-secret"
	headerName     = "X-Gateway-Key"
	headerSecret   = "header-secret"
)

// testConfig has a client with two secrets, one that requires a header, one that
// reports, and one that checks nothing.
func testConfig() finicity.Config {
	report, off := provider.ModeReport, provider.ModeOff
	return finicity.Config{
		Enabled: true,
		Clients: map[string]finicity.ClientConfig{
			"acme": {Secrets: map[string]secret.Secret{
				"current":  secret.New(currentSecret),
				"previous": secret.New(previousSecret),
			}},
			"strict": {
				Secrets:        map[string]secret.Secret{"only": secret.New("strict-partner-secret")},
				RequiredHeader: &finicity.RequiredHeader{Name: "x-gateway-key", Secret: secret.New(headerSecret)},
			},
			"reports": {
				Secrets:        map[string]secret.Secret{"only": secret.New("reports-partner-secret")},
				RequiredHeader: &finicity.RequiredHeader{Name: headerName, Secret: secret.New(headerSecret)},
				Verification:   &report,
			},
			"open": {Verification: &off},
		},
	}
}

func newProvider(t testing.TB) *finicity.Provider {
	t.Helper()
	p, err := finicity.New(testConfig())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func suite(t testing.TB) providertest.Suite {
	t.Helper()
	return providertest.Suite{
		Provider: newProvider(t),
		Sender:   finicity.Sender{},
		ClientID: "acme",
		Secret:   secret.New(currentSecret),
		Source:   netip.MustParseAddr("192.0.2.10"),
	}
}

func TestSecretHeaders(t *testing.T) {
	want := []string{headerName} // of two clients, one of which writes it in lower case
	if got := newProvider(t).SecretHeaders(); !slices.Equal(got, want) {
		t.Errorf("SecretHeaders() = %q, want %q", got, want)
	}
	if got := finicity.DefaultConfig().SecretHeaders(); len(got) != 0 {
		t.Errorf("SecretHeaders() = %q without clients", got)
	}
}

func TestConformance(t *testing.T) { providertest.Run(t, suite(t)) }

func FuzzDecode(f *testing.F) { providertest.FuzzDecode(f, suite(f)) }

func BenchmarkDelivery(b *testing.B) { providertest.BenchmarkDelivery(b, suite(b)) }
