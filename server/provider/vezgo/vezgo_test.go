package vezgo_test

import (
	"net/netip"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server/provider/providertest"
	"github.com/webhook-gateway/webhook-gateway/server/provider/vezgo"
)

const clientID = "app-1"

// testConfig accepts one client, from the documented addresses and a network.
func testConfig() vezgo.Config {
	config := vezgo.DefaultConfig()
	config.Enabled = true
	config.Clients = []string{clientID}
	config.SourceAddresses = append(config.SourceAddresses, "2001:db8::/64")
	return config
}

func newProvider(t testing.TB, config vezgo.Config) *vezgo.Provider {
	t.Helper()
	p, err := vezgo.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func suite(t testing.TB) providertest.Suite {
	t.Helper()
	return providertest.Suite{
		Provider: newProvider(t, testConfig()),
		Sender:   vezgo.Sender{},
		ClientID: clientID,
		Source:   netip.MustParseAddr("52.60.234.183"),
	}
}

func TestConformance(t *testing.T) { providertest.Run(t, suite(t)) }

func FuzzDecode(f *testing.F) { providertest.FuzzDecode(f, suite(f)) }

func BenchmarkDelivery(b *testing.B) { providertest.BenchmarkDelivery(b, suite(b)) }
