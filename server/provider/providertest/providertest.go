// Package providertest is the conformance suite that every provider runs.
//
// Beside the promises of the contract it checks the provider's cases, one folder
// testdata/<case> each:
//
//	headers         the request line `POST <target> from <source address>`, and headers
//	body.json       the body, byte for byte
//	want.textproto  the event, or in a comment why it is refused
//
// `go test ./server/provider/... -update` writes want.textproto anew.
package providertest

import (
	"flag"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

// update is a flag of the test binary, which is why it is a global.
var update = flag.Bool("update", false, "write the want.textproto of all cases anew")

// Suite is a provider under test.
type Suite struct {
	// Provider is configured for the cases and for what Sender sends.
	Provider provider.Provider
	Sender   provider.Sender
	// ClientID, Secret and Source make what Sender sends authentic.
	ClientID string
	Secret   secret.Secret
	Source   netip.Addr
}

// Run runs the suite in the folder of the provider.
func Run(t *testing.T, s Suite) {
	t.Helper()
	t.Run("Cases", s.testCases)
	t.Run("Samples", s.testSamples)
	t.Run("EveryType", s.testEveryType)
	t.Run("Headers", s.testHeaders)
	t.Run("Fresh", s.testFresh)
	t.Run("Drift", s.testDrift)
	t.Run("AnyObject", s.testAnyObject)
	t.Run("NotAnObject", s.testNotAnObject)
	t.Run("Concurrent", s.testConcurrent)
}

// Delivery returns the delivery of a body as Sender sends it.
func (s Suite) Delivery(t testing.TB, body []byte) *provider.Delivery {
	t.Helper()
	target, header := s.Sender.Request(body, s.ClientID, s.Secret)
	return newDelivery(t, target, header, s.Source, body)
}

func newDelivery(t testing.TB, target string, header http.Header, source netip.Addr, body []byte) *provider.Delivery {
	t.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatalf("the target of a request: %v", err)
	}
	_, path, _ := strings.Cut(u.Path, "/v1/webhooks/")
	_, clientID, _ := strings.Cut(path, "/")
	return &provider.Delivery{ClientID: clientID, Header: header, Query: u.Query(), Source: source, Body: body}
}

// enumPrefix is what the event types of the provider begin with.
func (s Suite) enumPrefix() string {
	return "EVENT_TYPE_" + strings.ToUpper(s.Provider.Name()) + "_"
}

// eventTypes returns the event types of the provider.
func (s Suite) eventTypes() []webhookgatewayv1.EventType {
	var types []webhookgatewayv1.EventType
	values := webhookgatewayv1.EventType(0).Descriptor().Values()
	for i := range values.Len() {
		if strings.HasPrefix(string(values.Get(i).Name()), s.enumPrefix()) {
			types = append(types, webhookgatewayv1.EventType(values.Get(i).Number()))
		}
	}
	return types
}
