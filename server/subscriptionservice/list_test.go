package subscriptionservice_test

import (
	"fmt"
	"testing"

	"google.golang.org/grpc"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// A page of subscriptions has no more bytes than clients receive, whatever their filters
// take.
func TestPagesOfLargeSubscriptions(t *testing.T) {
	g := newGateway(t)
	subjects := make([]string, 1000)
	for i := range subjects {
		subjects[i] = fmt.Sprintf("%01000d", i)
	}
	for i := range 6 {
		if _, err := g.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{Subscription: &webhookgatewayv1.Subscription{
			Name: fmt.Sprintf("s%d", i), Filters: []*webhookgatewayv1.EventFilter{{Subjects: subjects}},
		}}); err != nil {
			t.Fatal(err)
		}
	}
	request := &webhookgatewayv1.ListSubscriptionsRequest{}
	for i := range 6 {
		page, err := g.ListSubscriptions(t.Context(), request, grpc.MaxCallRecvMsgSize(4<<20))
		if err != nil || len(page.GetSubscriptions()) != 1 || page.GetSubscriptions()[0].GetName() != fmt.Sprintf("s%d", i) {
			t.Fatalf("page %d: %d subscriptions, %v", i, len(page.GetSubscriptions()), err)
		}
		request.PageToken = page.GetNextPageToken()
	}
	if request.GetPageToken() != "" {
		t.Error("there is another page")
	}
}
