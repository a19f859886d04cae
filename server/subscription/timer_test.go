package subscription

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

// elapsed returns how long f takes on the clock of the bubble.
func elapsed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func TestDeadlineAndBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		g.append(t, "a", "1")
		g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{
			AckDeadline: durationpb.New(10 * time.Second), MinBackoff: durationpb.New(2 * time.Second), MaxAttempts: 3,
		})
		stream := g.attach(t)
		d := next(t, stream, 1)
		wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
			return g.manager.Extend(t.Context(), "s", tokens(d...), 13*time.Second)
		})
		for _, want := range []struct {
			delivery string
			after    time.Duration
		}{{"1/2", 15 * time.Second}, {"1/3", 14 * time.Second}} {
			var again []Delivery
			took := elapsed(func() { again = next(t, stream, 1) })
			wantDeliveries(t, again, want.delivery)
			if took != want.after {
				t.Errorf("%s came after %v, want %v", want.delivery, took, want.after)
			}
		}
		g.wantAck(t, resultFenced, d...)
		<-time.After(10 * time.Second)
		synctest.Wait()
		parked, err := g.manager.ListParked(t.Context(), "s", 0, 10, 1<<20)
		if err != nil || len(parked) != 1 {
			t.Fatalf("ListParked() = %+v, %v, want 1", parked, err)
		}
		if p := parked[0]; p.Reason != webhookgatewayv1.ParkReason_PARK_REASON_MAX_ATTEMPTS || p.Attempts != 3 {
			t.Errorf("parked %+v", p)
		}
		g.wantAck(t, resultSettled, d...)
		<-time.After(time.Minute)
		status := g.status(t)
		if got := status.GetOldestParkedAge().AsDuration(); got != time.Minute {
			t.Errorf("oldest parked age %v, want 1 min", got)
		}
		if status.GetLagTime() != nil || status.GetParkedEvents() != 1 || status.GetInFlightEvents() != 0 {
			t.Errorf("status %v", status)
		}
		// Parked for no more than a second before it is durable, with no caller.
		if again := g.crash(t).status(t); again.GetParkedEvents() != 1 {
			t.Errorf("%d events are parked after a crash, want 1", again.GetParkedEvents())
		}
	})
}

// A delivery that is not sent in time is never sent, and costs nothing.
func TestSentTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		g.append(t, "a", "1", "2")
		g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 1})
		stream := g.attach(t)
		batch, err := stream.Next(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(29 * time.Second)
		d := stream.Sending(batch.Deliveries[:1])
		if len(d) != 1 || time.Until(d[0].Deadline) != 30*time.Second {
			t.Fatalf("Sending() = %+v, want the deadline in 30 s", d)
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		if late := stream.Sending(batch.Deliveries[1:]); len(late) != 0 {
			t.Errorf("%+v is sent after its deadline", late)
		}
		again := next(t, stream, 1)
		wantDeliveries(t, again, "2/1")
		<-time.After(27 * time.Second)
		g.wantAck(t, resultOK, d[0], again[0])
	})
}

func TestExpiredToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		g.append(t, "a", "1")
		g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MinBackoff: durationpb.New(time.Hour), MaxBackoff: durationpb.New(time.Hour)})
		d := next(t, g.attach(t), 1)
		<-time.After(30 * time.Second)
		g.wantAck(t, resultExpired, d...)
		synctest.Wait()
		g.wantAck(t, resultExpired, d...)
		if got := g.status(t); got.GetWaitingEvents() != 1 || got.GetLagTime() != nil || got.GetExpiresIn().AsDuration() != time.Hour-30*time.Second {
			t.Errorf("status %v", got)
		}
	})
}

func TestRejectRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		g.append(t, "a", "1")
		g.create(t, "s", nil)
		stream := g.attach(t)
		d := next(t, stream, 1)
		for _, test := range []struct{ delay, want time.Duration }{
			{-1, time.Second}, {-1, 2 * time.Second}, {0, 0}, {time.Minute, time.Minute}, {-1, 16 * time.Second},
		} {
			wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
				return g.manager.Retry(t.Context(), "s", tokens(d...), test.delay, "")
			})
			g.wantAck(t, resultFenced, d...)
			if took := elapsed(func() { d = next(t, stream, 1) }); took != test.want {
				t.Errorf("delivered after %v, want %v", took, test.want)
			}
		}
	})
}

// TestSlowWorker holds all that it may and settles nothing: the other goes on.
func TestSlowWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MaxInFlight: 4, MaxInFlightPerStream: 100})
		slow, quick := g.attach(t), g.attach(t)
		for range 20 {
			g.append(t, "a", "")
		}
		if n := len(next(t, slow, 2)); n != 2 {
			t.Fatalf("%d events, want 2", n)
		}
		for range 9 {
			g.wantAck(t, resultOK, next(t, quick, 2)...)
		}
		if got := g.status(t); got.GetInFlightEvents() != 2 {
			t.Errorf("status %v", got)
		}
	})
}

// TestEvenShares has two streams wait: each gets its share of what comes.
func TestEvenShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		g.create(t, "s", nil)
		counts := make(chan int, 2)
		for range 2 {
			stream := g.attach(t)
			go func() {
				n := 0
				for range 10 {
					n += len(next(t, stream, 1))
				}
				counts <- n
			}()
		}
		synctest.Wait()
		for range 20 {
			g.append(t, "a", "")
			synctest.Wait()
		}
		if a, b := <-counts, <-counts; a != 10 || b != 10 {
			t.Errorf("streams got %d and %d events, want 10 each", a, b)
		}
	})
}

func TestOrderingBySubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startGateway(t, pebblelogtest.NewDisk())
		g.append(t, "a", "x", "x", "y", "x")
		g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{Ordering: webhookgatewayv1.Ordering_ORDERING_BY_SUBJECT})
		first, second := g.attach(t), g.attach(t)
		x := next(t, first, 2)
		wantDeliveries(t, x, "1/1", "2/1")
		y := next(t, second, 1)
		wantDeliveries(t, y, "3/1")
		// The first of x comes back: the second is fenced, and comes after it.
		wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
			return g.manager.Retry(t.Context(), "s", tokens(x[0]), 0, "")
		})
		g.wantAck(t, resultFenced, x[1])
		x = next(t, second, 3)
		wantDeliveries(t, x, "1/2", "2/1", "4/1")
		// Parking frees the customer.
		wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
			return g.manager.Park(t.Context(), "s", tokens(x[0]), "")
		})
		g.wantAck(t, resultOK, x[1], x[2], y[0])
	})
}
