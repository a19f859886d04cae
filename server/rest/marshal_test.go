package rest_test

import (
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rest"
)

// TestMarshal: the JSON of a message is one text, whatever build made it. That of
// protojson is not: some builds put spaces into it.
func TestMarshal(t *testing.T) {
	t.Parallel()
	message := &webhookgatewayv1.Subscription{
		Name: "team",
		Filters: []*webhookgatewayv1.EventFilter{
			{ClientIds: []string{"with  spaces, and: a \"colon\"", "<&>\u2028"}, Providers: []webhookgatewayv1.Provider{1, 2}},
			{},
		},
		Settings: &webhookgatewayv1.SubscriptionSettings{AckDeadline: durationpb.New(1500e6), MaxAttempts: -1},
		Status:   &webhookgatewayv1.SubscriptionStatus{LagEvents: 1 << 60},
	}
	const want = `{"name":"team","filters":[{"providers":["PROVIDER_FINICITY","PROVIDER_VEZGO"],` +
		`"clientIds":["with  spaces, and: a \"colon\"","<&>` + "\u2028" + `"]},{}],` +
		`"settings":{"ackDeadline":"1.500s","maxAttempts":-1},"status":{"lagEvents":"1152921504606846976"}}`
	for range 10 {
		got, err := rest.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}
