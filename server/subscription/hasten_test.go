package subscription

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

// What was held comes again at once, as it would have after its deadline and its backoff:
// with the attempt counted, the old token worth nothing, and parked in the end. The
// deadline of the new delivery is as long as ever.
func TestHasten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		g.append(t, "a", "1")
		g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{
			AckDeadline: durationpb.New(maxAckDeadline), MinBackoff: durationpb.New(maxMinBackoff), MaxAttempts: 3,
		})
		stream := g.attach(t)
		hasten := func() {
			t.Helper()
			if err := g.manager.Hasten("s"); err != nil {
				t.Fatal(err)
			}
		}
		took := elapsed(func() {
			d := next(t, stream, 1)
			wantDeliveries(t, d, "1/1")
			hasten()
			again := next(t, stream, 1)
			wantDeliveries(t, again, "1/2")
			g.wantAck(t, resultFenced, d...)
			g.retry(t, maxMaxBackoff, again...)
			hasten()
			last := next(t, stream, 1)
			wantDeliveries(t, last, "1/3")
			if left := time.Until(last[0].Deadline); left != maxAckDeadline {
				t.Errorf("the worker has %v", left)
			}
			hasten()
		})
		if took != 0 {
			t.Errorf("it took %v", took)
		}
		<-time.After(2 * lazyFlush)
		synctest.Wait()
		if n := g.status(t).GetParkedEvents(); n != 1 {
			t.Errorf("%d events are parked, want 1", n)
		}
		if err := g.manager.Hasten("nobody's"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Hasten() of no subscription = %v", err)
		}
	})
}
