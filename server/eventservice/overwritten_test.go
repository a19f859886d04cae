package eventservice_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
)

// TestStreamsOfAnOverwrittenEnd: the commit log has lost three events, and another gateway has put
// five others in their place before the one that has them could know. Who has read any of either is
// told, on a stream that is open and when resuming, on both gateways, and then reads all of them.
func TestStreamsOfAnOverwrittenEnd(t *testing.T) {
	memory := commitlogtest.NewMemory()
	tail := &lagging{Log: memory.Open(nil), memory: memory}
	aheadLog := openCopy(t, tail)
	ahead := serve(t, aheadLog, testConfig())
	for i := range 5 {
		ahead.add(t, vezgo, syncAccount, fmt.Sprint("kept ", i+1))
	}
	at := memory.Len()
	for i := range 3 {
		ahead.add(t, vezgo, syncAccount, fmt.Sprint("lost ", i+6))
	}
	had := ahead.follow(t, 8)
	kept, lost := ahead.cursor(5), ahead.cursor(7)
	page, err := ahead.client.ListEvents(t.Context(), &listRequest{PageSize: 7})
	if err != nil {
		t.Fatal(err)
	}

	tail.off.Store(true)
	memory.Cut(at)
	behindLog := openCopy(t, memory.Open(nil))
	behind := serve(t, behindLog, testConfig())
	for i := range 5 {
		behind.add(t, vezgo, syncAccount, fmt.Sprint("other ", i+6))
	}
	others, other := behind.follow(t, 10), behind.cursor(8)

	tail.off.Store(false)
	for deadline := time.Now().Add(time.Minute); aheadLog.Sync(t.Context()) != nil; {
		if time.Now().After(deadline) {
			t.Fatalf("it does not go on: %v", aheadLog.Err())
		}
	}
	const want = "FailedPrecondition HISTORY_LOST"
	for name, stream := range map[string]grpc.ServerStreamingClient[webhookgatewayv1.SubscribeResponse]{"had": had, "others": others} {
		for err = nil; err == nil; {
			_, err = stream.Recv() // what came in between, perhaps
		}
		if last := checkError(t, err, want+" cursor")["last_cursor"]; last != kept {
			t.Errorf("the stream of who %s ends with the last cursor %q, want %q", name, last, kept)
		}
	}
	for _, g := range []*gateway{ahead, behind} {
		for _, cursor := range []string{lost, other} {
			_, err := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{Start: &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: cursor}}).rest()
			checkError(t, err, want+" start_cursor")
		}
		_, err := g.client.ListEvents(t.Context(), &listRequest{PageToken: page.GetNextPageToken()})
		checkError(t, err, "InvalidArgument PAGE_TOKEN_INVALID")
		g.subscribe(t, &webhookgatewayv1.SubscribeRequest{
			Start: &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: kept}, Stop: toHead(),
		}).expect("subscribed 5", "6", "7", "8", "9", "10", "caught_up 10")
		events, err := g.client.ListEvents(t.Context(), &listRequest{})
		if err != nil || len(events.GetEvents()) != 10 || events.GetEvents()[6].GetClientId() != "other 7" {
			t.Errorf("events %v, %v", events, err)
		}
	}
}

// follow opens a stream from the beginning, and returns it when it has caught up at a position.
func (g *gateway) follow(t *testing.T, head int) grpc.ServerStreamingClient[webhookgatewayv1.SubscribeResponse] {
	t.Helper()
	s := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{Start: fromEarliest()})
	want := []string{"subscribed 0"}
	for p := range head {
		want = append(want, fmt.Sprint(p+1))
	}
	s.expect(append(want, fmt.Sprint("caught_up ", head))...)
	return s.stream
}
