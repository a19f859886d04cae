package eventservice_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

const (
	verified   = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED
	failed     = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED
	notChecked = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_NOT_CHECKED
)

// authentic are the verdicts of a filter that names none.
func authentic() []webhookgatewayv1.VerificationVerdict {
	return []webhookgatewayv1.VerificationVerdict{verified, notChecked}
}

// addVerdicts stores an event of each verdict, and another that failed.
func addVerdicts(tb testing.TB, g *gateway) {
	tb.Helper()
	for _, verdict := range []webhookgatewayv1.VerificationVerdict{verified, failed, notChecked, failed} {
		entry, err := eventlog.NewEntry(&webhookgatewayv1.Event{
			Provider: finicity, Type: done, ClientId: "a", RawBody: []byte("{}"),
			Verification: &webhookgatewayv1.Verification{Verdict: verdict},
		})
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := g.log.Append(tb.Context(), entry); err != nil {
			tb.Fatal(err)
		}
	}
}

// What failed verification is sent only on request, and otherwise counted.
func TestWhatFailedVerificationIsLeftOut(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	addVerdicts(t, g)
	for _, tc := range []struct {
		name    string
		filters filters
		want    []eventlog.Position
		leftOut int64
	}{
		{"no filter", nil, []eventlog.Position{1, 3}, 2},
		{"empty filter", filters{{}}, []eventlog.Position{1, 3}, 2},
		{"another filter with nothing", filters{{}, {ClientIds: []string{"b"}}}, []eventlog.Position{1, 3}, 2},
		{"failed, of a client that has none", filters{{ClientIds: []string{"b"}}}, nil, 0},
		{"failed", filters{{Verdicts: []webhookgatewayv1.VerificationVerdict{failed}}}, []eventlog.Position{2, 4}, 0},
		{"verified", filters{{Verdicts: []webhookgatewayv1.VerificationVerdict{verified}}}, []eventlog.Position{1}, 0},
		{"all", filters{{Verdicts: []webhookgatewayv1.VerificationVerdict{verified, failed, notChecked}}}, []eventlog.Position{1, 2, 3, 4}, 0},
		{"failed in another filter", filters{{}, {Verdicts: []webhookgatewayv1.VerificationVerdict{failed}}}, []eventlog.Position{1, 2, 3, 4}, 0},
		{"verdicts named", filters{{Verdicts: authentic()}}, []eventlog.Position{1, 3}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			want := []string{"subscribed 0"}
			for _, p := range tc.want {
				want = append(want, fmt.Sprint(p))
			}
			s := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{Filters: tc.filters, Start: fromEarliest(), Stop: toHead()})
			s.expect(want...)
			caughtUp := s.next()
			if got := caughtUp.GetCaughtUp().GetLeftOutEvents(); got != tc.leftOut || caughtUp.GetCaughtUp() == nil {
				t.Errorf("%v: %d left out, want %d", caughtUp, got, tc.leftOut)
			}
			for _, newestFirst := range []bool{false, true} {
				leftOut, req := int64(0), &listRequest{Filters: tc.filters, PageSize: 1, NewestFirst: newestFirst}
				var got []eventlog.Position
				for more := true; more; more = req.GetPageToken() != "" {
					page, err := g.client.ListEvents(t.Context(), req)
					if err != nil {
						t.Fatal(err)
					}
					for _, e := range page.GetEvents() {
						p, err := g.log.History().ParseCursor(e.GetCursor())
						if err != nil {
							t.Fatal(err)
						}
						if newestFirst {
							got = append([]eventlog.Position{p}, got...)
						} else {
							got = append(got, p)
						}
					}
					leftOut += page.GetLeftOutEvents()
					req.PageToken = page.GetNextPageToken()
				}
				if diff := cmp.Diff(tc.want, got); diff != "" || leftOut != tc.leftOut {
					t.Errorf("newest first %v: %d left out, want %d; events (-want +got):\n%s", newestFirst, leftOut, tc.leftOut, diff)
				}
			}
		})
	}
	for p := eventlog.Position(1); p <= 4; p++ { // GetEvent always answers
		if _, err := g.client.GetEvent(t.Context(), &webhookgatewayv1.GetEventRequest{Id: g.log.History().FormatEventID(p)}); err != nil {
			t.Errorf("GetEvent of %d: %v", p, err)
		}
	}
}

// A heartbeat counts what was left out since the stream opened.
func TestHeartbeatCountsWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	config := testConfig()
	config.DefaultHeartbeat = 1
	g := newGateway(t, config)
	s := g.subscribe(t, &webhookgatewayv1.SubscribeRequest{})
	s.expect("subscribed 0")
	addVerdicts(t, g)
	for {
		frame, err := s.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		s.describe(frame)
		if frame.GetHeartbeat().GetLeftOutEvents() == 2 {
			return
		}
	}
}

// A page size above the limit is lowered.
func TestListOfTooManyIsListOfTheMost(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testConfig())
	g.addMany(t, 1001, []byte("{}"))
	page, err := g.client.ListEvents(t.Context(), &listRequest{PageSize: 100_000})
	if err != nil || len(page.GetEvents()) != 1000 || page.GetNextPageToken() == "" {
		t.Fatalf("%d events, another page %v, %v", len(page.GetEvents()), page.GetNextPageToken() != "", err)
	}
}
