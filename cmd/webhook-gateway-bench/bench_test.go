package main

import (
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// TestCountingCodec: a client that only counts knows events from what else a frame has.
func TestCountingCodec(t *testing.T) {
	for _, frame := range []*webhookgatewayv1.SubscribeResponse{
		{Frame: &webhookgatewayv1.SubscribeResponse_Events{Events: &webhookgatewayv1.EventBatch{
			Events: []*webhookgatewayv1.Event{{Id: "1"}, {}, {ClientId: "acme"}}, AfterCursor: "c",
		}}},
		{Frame: &webhookgatewayv1.SubscribeResponse_Heartbeat{Heartbeat: &webhookgatewayv1.Heartbeat{Cursor: "c", AfterCursor: "b"}}},
	} {
		text, err := proto.Marshal(frame)
		if err != nil {
			t.Fatal(err)
		}
		var count counted
		err = countingCodec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(text)}, &count)
		if want := len(frame.GetEvents().GetEvents()); err != nil || count.events != want {
			t.Errorf("%d events, %v, want %d", count.events, err, want)
		}
	}
}

// TestInterval: the ranks are those of tables of the sign test.
func TestInterval(t *testing.T) {
	for n, out := range map[int]int{1: 0, 5: 0, 6: 0, 9: 1, 10: 1, 12: 2, 15: 3, 20: 5} {
		values := make([]float64, n)
		for i := range values {
			values[i] = float64(n - i)
		}
		if low, high := interval(values); low != float64(out+1) || high != float64(n-out) {
			t.Errorf("of %d: %v to %v, want %d left out at each end", n, low, high, out)
		}
	}
}
