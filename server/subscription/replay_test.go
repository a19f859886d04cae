package subscription

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

// An event that was parked, and whose subscription was moved to before it since, is
// replayed from its copy all the same: not even a log that removed it, or filters
// that do not match it any more, lose it.
func TestReplayAfterASeekBack(t *testing.T) {
	trim := func(t *testing.T, g *gateway) {
		t.Helper()
		if err := g.log.Trim(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
	}
	// back has a worker take both events and give the first back in a way.
	back := func(give func(*Manager, context.Context, []string) ([]webhookgatewayv1.TokenResult, error)) func(*testing.T, *gateway) {
		return func(t *testing.T, g *gateway) {
			t.Helper()
			st := g.attach(t)
			wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
				return give(g.manager, t.Context(), tokens(next(t, st, 2)[0]))
			})
			st.Close()
		}
	}
	for name, meanwhile := range map[string]struct {
		before, after func(t *testing.T, g *gateway)
	}{
		"nothing": {},
		"other filters": {before: func(t *testing.T, g *gateway) {
			t.Helper()
			if _, err := g.manager.Update(t.Context(), &webhookgatewayv1.Subscription{
				Name: "s", Filters: []*webhookgatewayv1.EventFilter{{ClientIds: []string{"b"}}},
			}, nil, nil); err != nil {
				t.Fatal(err)
			}
		}},
		"a trim": {after: trim},
		"known, then a trim": {
			before: back(func(m *Manager, ctx context.Context, tokens []string) ([]webhookgatewayv1.TokenResult, error) {
				return m.Release(ctx, "s", tokens)
			}),
			after: trim,
		},
		"waiting, then a trim": {
			before: back(func(m *Manager, ctx context.Context, tokens []string) ([]webhookgatewayv1.TokenResult, error) {
				return m.Retry(ctx, "s", tokens, 0, "")
			}),
			after: trim,
		},
	} {
		for _, ordering := range []webhookgatewayv1.Ordering{
			webhookgatewayv1.Ordering_ORDERING_NONE, webhookgatewayv1.Ordering_ORDERING_BY_SUBJECT, webhookgatewayv1.Ordering_ORDERING_STRICT,
		} {
			for _, crash := range []bool{false, true} {
				t.Run(name+" "+ordering.String(), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						g := startGateway(t, pebblelogtest.NewDisk())
						g.append(t, "a", "1", "2")
						g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{Ordering: ordering, MinBackoff: durationpb.New(0)}, "a")
						st := g.attach(t)
						g.park(t, st, 2)
						st.Close()
						if _, err := g.manager.Seek(t.Context(), "s", 0); err != nil {
							t.Fatal(err)
						}
						if meanwhile.before != nil {
							meanwhile.before(t, g)
						}
						n, unknown, err := g.manager.Replay(t.Context(), "s", []eventlog.Position{1, 2})
						if n != 2 || len(unknown) > 0 || err != nil {
							t.Fatalf("Replay() = %d, %v, %v", n, unknown, err)
						}
						if crash {
							g = g.crash(t)
						}
						if meanwhile.after != nil {
							meanwhile.after(t, g)
						}
						st = g.attach(t)
						var d []Delivery
						soon, cancelSoon := context.WithTimeout(t.Context(), time.Minute)
						defer cancelSoon()
						for len(d) < 2 {
							batch, err := st.Next(soon, 2)
							if err != nil || len(batch.Gaps) > 0 {
								t.Fatalf("Next() = %+v, %v, with %d deliveries", batch, err, len(d))
							}
							d = append(d, st.Sending(batch.Deliveries)...)
						}
						var read []string
						for event, err := range st.Read(t.Context(), d) {
							if err != nil {
								t.Fatal(err)
							}
							read = append(read, string(event.Record.Subject()))
						}
						if !slices.Equal(read, []string{"1", "2"}) {
							t.Errorf("read %v", read)
						}
						g.wantAck(t, resultOK, d...)
						ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
						defer cancel()
						if batch, err := st.Next(ctx, 2); len(batch.Deliveries)+len(batch.Gaps) > 0 || err != nil && !errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("then came %+v, %v", batch, err)
						}
						if at := g.status(t); at.GetParkedEvents()+at.GetWaitingEvents()+at.GetReadyEvents() != 0 || at.GetCursor() != at.GetHeadCursor() {
							t.Errorf("in the end: %v", at)
						}
					})
				})
			}
		}
	}
}

// A token of before a seek settles nothing, and does not tell that it did.
func TestTokensAreFencedByASeekPastTheirEvents(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1", "2")
	g.create(t, "s", nil, "a")
	d := next(t, g.attach(t), 2)
	if _, err := g.manager.Seek(t.Context(), "s", 2); err != nil {
		t.Fatal(err)
	}
	g.wantAck(t, resultFenced, d...)
}

// A token that is given twice waits once.
func TestRetryOfATokenTwice(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1")
	g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MaxWaiting: 1}, "a")
	d := next(t, g.attach(t), 1)[0]
	results, err := g.manager.Retry(t.Context(), "s", tokens(d, d), time.Hour, "")
	if err != nil || results[0] != resultOK || results[1] != resultFenced {
		t.Errorf("Retry() = %v, %v", results, err)
	}
}

// Of all parked events as many are replayed as may wait.
func TestReplayOfAllReplaysWhatMayWait(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1", "2", "3", "4", "5")
	g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MaxWaiting: 3})
	st := g.attach(t)
	g.park(t, st, 5)
	st.Close()
	if n, _, err := g.manager.Replay(t.Context(), "s", nil); n != 3 || err != nil {
		t.Fatalf("Replay() = %d, %v, want 3", n, err)
	}
	if _, _, err := g.manager.Replay(t.Context(), "s", nil); !errors.Is(err, ErrTooManyWaiting) {
		t.Errorf("Replay() = %v, want ErrTooManyWaiting", err)
	}
	g.wantAck(t, resultOK, next(t, g.attach(t), 3)...)
	if n, _, err := g.manager.Replay(t.Context(), "s", nil); n != 2 || err != nil {
		t.Errorf("Replay() = %d, %v, want 2", n, err)
	}
}
