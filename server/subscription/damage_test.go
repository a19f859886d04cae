package subscription

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

// A damaged block in the table of the subscriptions costs those in it: they are not taken
// for ones that do not exist, and all others work.
func TestDamagedState(t *testing.T) {
	const subscriptions = 200
	disk := pebblelogtest.NewDisk()
	random := rand.New(rand.NewPCG(1, 2))
	g := startGateway(t, disk)
	g.append(t, "client", "1")
	name := func(i int) string { return fmt.Sprintf("subscription-%03d", i) }
	for i := range subscriptions {
		clients := []string{"client"}
		for range 40 {
			clients = append(clients, fmt.Sprintf("%x", random.Uint64()))
		}
		g.create(t, name(i), nil, clients...)
	}
	tabled := inTables(t, disk)
	for place := range 5 {
		t.Run(fmt.Sprint(place), func(t *testing.T) {
			disk := tabled.Crash()
			disk.FlipBit(t, 0.3+0.1*float64(place))
			g := startGateway(t, disk)
			good, aside, hidden := 0, 0, 0
			for i := range subscriptions {
				stream, err := g.manager.Attach(name(i), StreamOptions{})
				switch {
				case err == nil:
					good++
					if _, err := g.manager.Acknowledge(t.Context(), name(i), tokens(next(t, stream, 1)...)); err != nil {
						t.Error(err)
					}
					stream.Close()
				case errors.As(err, new(*UnusableError)):
					aside++
				case errors.Is(err, eventlog.ErrStateDamaged):
					hidden++
				default:
					t.Errorf("Attach(%s) = %v", name(i), err)
				}
			}
			if good < subscriptions*3/4 || good == subscriptions {
				t.Errorf("%d subscriptions work, %d are set aside, %d are hidden", good, aside, hidden)
			}
			_, err := g.manager.Attach("unknown", StreamOptions{})
			if want := map[bool]error{true: eventlog.ErrStateDamaged, false: ErrNotFound}[hidden > 0]; !errors.Is(err, want) {
				t.Errorf("Attach() of an unknown name = %v, want %v", err, want)
			}
			if got := len(g.manager.unusable()); got != aside {
				t.Errorf("%d are counted as unusable, want %d", got, aside)
			}
		})
	}
}

// A damaged copy of a parked event costs that event at most: it is listed, replayed from
// the log, and forgotten like others, and the subscription goes on.
func TestDamagedParkedEvents(t *testing.T) {
	const events = 120
	disk := pebblelogtest.NewDisk()
	g := startGateway(t, disk)
	random := rand.New(rand.NewPCG(1, 2))
	for range events {
		e, err := eventlog.NewEntry(&webhookgatewayv1.Event{
			Provider: webhookgatewayv1.Provider_PROVIDER_VEZGO, ClientId: "client", RawBody: fmt.Appendf(nil, `{"body":"%x"}`, random.Perm(1000)),
			Verification: &webhookgatewayv1.Verification{Verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.log.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	g.create(t, "s", nil)
	stream := g.attach(t)
	for n := 0; n < events; {
		d := next(t, stream, 10)
		wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
			return g.manager.Park(t.Context(), "s", tokens(d...), "")
		})
		n += len(d)
	}
	tabled := inTables(t, disk)
	for place := range 6 {
		t.Run(fmt.Sprint(place), func(t *testing.T) {
			disk := tabled.Crash()
			disk.FlipBit(t, 0.65+0.05*float64(place))
			g := startGateway(t, disk)
			list, err := g.manager.ListParked(t.Context(), "s", 0, 1000, 1<<30)
			if err != nil || len(list) != events {
				t.Fatalf("ListParked() = %d events, %v, want %d", len(list), err, events)
			}
			for i, e := range list {
				if !e.HasRecord || e.Position != eventlog.Position(i+1) || e.Time.IsZero() {
					t.Errorf("parked event %d: position %d at %v, has a record: %t", i, e.Position, e.Time, e.HasRecord)
				}
			}
			if n, unknown, err := g.manager.Replay(t.Context(), "s", []eventlog.Position{60, 61, 62}); n != 3 || len(unknown) > 0 || err != nil {
				t.Errorf("Replay() = %d, %v, %v", n, unknown, err)
			}
			stream := g.attach(t)
			d := next(t, stream, 3)
			if got := len(readAll(t, stream, d)); got != 3 {
				t.Errorf("%d replayed events can be read, want 3", got)
			}
			g.wantAck(t, resultOK, d...)
			s, err := g.manager.find("s")
			if err != nil {
				t.Fatal(err)
			}
			if n, err := s.sweepBatch(t.Context(), time.Now().Add(time.Hour)); n != events-3 || err != nil {
				t.Errorf("sweepBatch() = %d, %v, want %d", n, err, events-3)
			}
			if list, err := g.manager.ListParked(t.Context(), "s", 0, 1000, 1<<30); err != nil || len(list) > 0 || s.totals.count != 0 {
				t.Errorf("ListParked() = %d events, %v after all were removed, and %d are counted", len(list), err, s.totals.count)
			}
			g.append(t, "client", "2")
			g.wantAck(t, resultOK, next(t, stream, 1)...)
		})
	}
}

// inTables returns a copy of a disk that has everything in tables, and nothing in the
// write-ahead log.
func inTables(t *testing.T, disk *pebblelogtest.Disk) *pebblelogtest.Disk {
	t.Helper()
	tabled := disk.Crash()
	if err := tabled.Open(t).Close(); err != nil {
		t.Fatal(err)
	}
	return tabled
}
