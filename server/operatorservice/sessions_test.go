package operatorservice_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/operatorservice"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/sessions"
	"github.com/webhook-gateway/webhook-gateway/server/stream/streamtest"
)

const (
	started  = webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_STARTED
	adding   = webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDING
	added    = webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED
	done     = webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_DONE
	ping     = webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_PING
	badLogin = webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_INVALID_CREDENTIALS

	open    = webhookgatewayv1.SessionState_SESSION_STATE_OPEN
	isDone  = webhookgatewayv1.SessionState_SESSION_STATE_DONE
	failed  = webhookgatewayv1.SessionState_SESSION_STATE_FAILED
	stalled = webhookgatewayv1.SessionState_SESSION_STATE_STALLED
)

type (
	filters = []*webhookgatewayv1.EventFilter
	views   = []webhookgatewayv1.EventView
	request = webhookgatewayv1.ListSessionsRequest
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gateway is the service on a real log behind a real gRPC server.
type gateway struct {
	log    eventlog.Log
	now    *atomic.Int64 // of the log
	index  *sessions.Index
	client webhookgatewayv1.OperatorServiceClient
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{now: new(atomic.Int64)}
	g.now.Store(time.Now().UnixNano())
	opened := time.Now()
	config := pebblelog.DefaultConfig()
	config.Path = t.TempDir()
	var err error
	if g.log, err = pebblelog.Open(config, slog.New(slog.DiscardHandler), pebblelog.InMemory(), pebblelog.WithClock(
		func() time.Time { return time.Unix(0, g.now.Load()) }, func() time.Duration { return time.Since(opened) })); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.log.Close(); err != nil && !errors.Is(err, eventlog.ErrClosed) {
			t.Error(err)
		}
	})
	if g.index, err = sessions.New(sessions.DefaultConfig(), g.log, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.index.Close)
	g.client = webhookgatewayv1.NewOperatorServiceClient(streamtest.Serve(t, func(server grpc.ServiceRegistrar) {
		webhookgatewayv1.RegisterOperatorServiceServer(server, operatorservice.New(operatorservice.Params{
			Log: g.log, Logger: slog.New(slog.DiscardHandler), Sessions: g.index,
		}))
	}))
	return g
}

// add stores events of a customer.
func (g *gateway) add(t *testing.T, client, subject string, types ...webhookgatewayv1.EventType) {
	t.Helper()
	for _, eventType := range types {
		g.addAs(t, webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED, client, subject, eventType)
	}
}

func (g *gateway) addAs(t *testing.T, verdict webhookgatewayv1.VerificationVerdict, client, subject string, eventType webhookgatewayv1.EventType) {
	t.Helper()
	entry, err := eventlog.NewEntry(&webhookgatewayv1.Event{
		Provider: webhookgatewayv1.Provider_PROVIDER_FINICITY, Type: eventType, ClientId: client, Subject: subject,
		Verification: &webhookgatewayv1.Verification{Verdict: verdict},
	})
	if err == nil {
		_, err = g.log.Append(t.Context(), entry)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// pass lets time pass.
func (g *gateway) pass(d time.Duration) { g.now.Add(int64(d)) }

// as returns the context of the calls of a caller with grants.
func as(t *testing.T, grants ...*access.Grant) context.Context {
	t.Helper()
	for _, g := range grants {
		if err := g.Check(); err != nil {
			t.Fatal(err)
		}
	}
	return streamtest.As(t.Context(), &access.Caller{Name: "test", Grants: grants})
}

// reads is a grant to read the metadata of events.
func reads(granted ...*webhookgatewayv1.EventFilter) *access.Grant {
	return &access.Grant{Filters: granted, Views: views{webhookgatewayv1.EventView_EVENT_VIEW_METADATA}}
}

// list returns the sessions of all pages, each as `client subject state events -missing`.
func (g *gateway) list(ctx context.Context, t *testing.T, req *request) string {
	t.Helper()
	var lines []string
	for {
		page, err := g.client.ListSessions(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.GetSessions() {
			lines = append(lines, fmt.Sprintf("%s/%s %s %d -%d", s.GetClientId(), s.GetSubject(),
				strings.ToLower(strings.TrimPrefix(s.GetState().String(), "SESSION_STATE_")), s.GetEventCount(), len(s.GetMissingEventTypes())))
		}
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			return strings.Join(lines, "; ")
		}
	}
}

func TestListSessions(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.add(t, "a", "1", started, adding, added, done)
	g.add(t, "a", "2", ping, started, badLogin)
	g.add(t, "b", "1", started, adding)
	g.addAs(t, webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED, "b", "1", done)
	g.pass(20 * time.Minute)
	g.add(t, "b", "3", adding)
	for _, tc := range []struct {
		req  *request
		want string
	}{
		{&request{}, "b/3 open 1 -5; b/1 open 2 -4; a/2 open 2 -5; a/1 done 4 -2"},
		{&request{ClientIds: []string{"a"}}, "a/2 open 2 -5; a/1 done 4 -2"},
		{&request{Subjects: []string{"1"}}, "b/1 open 2 -4; a/1 done 4 -2"},
		{&request{States: []webhookgatewayv1.SessionState{isDone, failed}}, "a/1 done 4 -2"},
		{&request{PageSize: 1}, "b/3 open 1 -5; b/1 open 2 -4; a/2 open 2 -5; a/1 done 4 -2"},
		{&request{PageSize: 1, States: []webhookgatewayv1.SessionState{open}}, "b/3 open 1 -5; b/1 open 2 -4; a/2 open 2 -5"},
	} {
		if got := g.list(t.Context(), t, tc.req); got != tc.want {
			t.Errorf("%v: %s\nwant %s", tc.req, got, tc.want)
		}
	}
	g.pass(15 * time.Minute)
	if got, want := g.list(t.Context(), t, &request{}), "b/3 open 1 -5; b/1 stalled 2 -4; a/2 failed 2 -5; a/1 done 4 -2"; got != want {
		t.Errorf("after a while: %s, want %s", got, want)
	}

	page, err := g.client.ListSessions(t.Context(), &request{States: []webhookgatewayv1.SessionState{stalled}})
	if err != nil {
		t.Fatal(err)
	}
	s := page.GetSessions()[0]
	var types []webhookgatewayv1.EventType
	for _, e := range s.GetEvents() {
		types = append(types, e.GetType())
		if _, err := g.log.History().ParseEventID(e.GetId()); err != nil {
			t.Errorf("the id of an event is %q: %v", e.GetId(), err)
		}
	}
	if !slices.Equal(types, []webhookgatewayv1.EventType{started, adding}) || s.GetId() != s.GetEvents()[0].GetId() ||
		!s.GetStartTime().AsTime().Equal(s.GetEvents()[0].GetReceiveTime().AsTime()) || !s.GetLastTime().AsTime().Equal(s.GetEvents()[1].GetReceiveTime().AsTime()) {
		t.Errorf("the stalled session is %v", s)
	}
	if since := g.log.Clock().Now.Sub(page.GetCompleteSince().AsTime()); since != 24*time.Hour {
		t.Errorf("it is complete since %v ago, want the window", since)
	}
}

// Pages of a list go on where the one before ended, whatever comes meanwhile.
func TestPagesOfSessionsAreStable(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	for _, subject := range []string{"1", "2", "3", "4"} {
		g.add(t, "a", subject, started)
	}
	first, err := g.client.ListSessions(t.Context(), &request{PageSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	g.add(t, "a", "1", done)
	g.add(t, "a", "5", started)
	g.add(t, "a", "3", started)
	if got, want := g.list(t.Context(), t, &request{PageSize: 1, PageToken: first.GetNextPageToken()}), "a/2 open 1 -5; a/1 done 2 -4"; got != want {
		t.Errorf("the next pages have %s, want %s", got, want)
	}
}

// What was not checked neither changes nor pushes out what is known of verified events.
func TestUncheckedIsApart(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	config := sessions.DefaultConfig()
	config.MaxSessions = 2
	g.index.Replace(config)
	g.add(t, "a", "1", started)
	for _, subject := range []string{"1", "2", "3"} {
		g.addAs(t, webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_NOT_CHECKED, "a", subject, done)
	}
	if got, want := g.list(t.Context(), t, &request{}), "a/3 done 1 -5; a/2 done 1 -5; a/1 open 1 -5"; got != want {
		t.Errorf("there are %s, want %s", got, want)
	}
}

func TestListSessionsIsRefused(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.add(t, "a", "1", started)
	g.add(t, "a", "2", started)
	page, err := g.client.ListSessions(t.Context(), &request{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	onlyA := as(t, reads(&webhookgatewayv1.EventFilter{ClientIds: []string{"a"}}))
	hiding := as(t, &access.Grant{Filters: filters{{}}, Views: views{webhookgatewayv1.EventView_EVENT_VIEW_FULL}, Mask: []string{"subject"}})
	for name, tc := range map[string]struct {
		ctx     context.Context //nolint:containedctx // that of the case
		req     *request
		code    codes.Code
		message string
	}{
		"a state":          {t.Context(), &request{States: []webhookgatewayv1.SessionState{0}}, codes.InvalidArgument, "states[0]: "},
		"many states":      {t.Context(), &request{States: make([]webhookgatewayv1.SessionState, 1001)}, codes.InvalidArgument, "states: 1001 are given"},
		"an empty client":  {t.Context(), &request{ClientIds: []string{""}}, codes.InvalidArgument, "client_ids[0]: "},
		"a page size":      {t.Context(), &request{PageSize: -1}, codes.InvalidArgument, "page_size: "},
		"a token":          {t.Context(), &request{PageToken: "x"}, codes.InvalidArgument, "page token"},
		"another token":    {t.Context(), &request{PageToken: page.GetNextPageToken(), ClientIds: []string{"a"}}, codes.InvalidArgument, "page token"},
		"other grants":     {onlyA, &request{PageToken: page.GetNextPageToken()}, codes.InvalidArgument, "page token"},
		"no grant":         {as(t), &request{}, codes.PermissionDenied, "no events are granted"},
		"another client":   {onlyA, &request{ClientIds: []string{"a", "b"}}, codes.PermissionDenied, `client_ids: not granted: "b"`},
		"a hidden subject": {hiding, &request{Subjects: []string{"1"}}, codes.PermissionDenied, "subjects: not granted"},
		"one type": {
			as(t, reads(&webhookgatewayv1.EventFilter{EventTypes: []webhookgatewayv1.EventType{started}})),
			&request{}, codes.PermissionDenied, "event_types: not granted",
		},
	} {
		_, err := g.client.ListSessions(tc.ctx, tc.req)
		if status.Code(err) != tc.code || !strings.Contains(status.Convert(err).Message(), tc.message) {
			t.Errorf("%s: %v, want %v %s", name, err, tc.code, tc.message)
		}
	}
	g.index.Close()
	if _, err := g.client.ListSessions(t.Context(), &request{}); rpcerr.Reason(err) != webhookgatewayv1.ErrorReason_ERROR_REASON_DRAINING {
		t.Errorf("after the end: %v", err)
	}
}

// A caller sees the sessions of which it may read every event, masked as these are.
func TestSessionsAreGranted(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.add(t, "a", "1", started, done)
	g.add(t, "b", "1", started)
	g.add(t, "b", "2", started)
	g.addAs(t, webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_NOT_CHECKED, "c", "1", started)
	clientA, clientB := &webhookgatewayv1.EventFilter{ClientIds: []string{"a"}}, &webhookgatewayv1.EventFilter{ClientIds: []string{"b"}}
	masked := func(f ...*webhookgatewayv1.EventFilter) *access.Grant {
		return &access.Grant{Filters: f, Views: views{webhookgatewayv1.EventView_EVENT_VIEW_FULL}, Mask: []string{"subject"}}
	}
	for name, tc := range map[string]struct {
		grants []*access.Grant
		want   string
	}{
		"everything": {[]*access.Grant{reads(&webhookgatewayv1.EventFilter{})}, "c/1 open 1 -5; b/2 open 1 -5; b/1 open 1 -5; a/1 done 2 -4"},
		"a client":   {[]*access.Grant{reads(clientA)}, "a/1 done 2 -4"},
		"a subject":  {[]*access.Grant{reads(&webhookgatewayv1.EventFilter{Subjects: []string{"1"}})}, "c/1 open 1 -5; b/1 open 1 -5; a/1 done 2 -4"},
		"what is verified": {[]*access.Grant{reads(&webhookgatewayv1.EventFilter{Verdicts: []webhookgatewayv1.VerificationVerdict{
			webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED,
		}})}, "b/2 open 1 -5; b/1 open 1 -5; a/1 done 2 -4"},
		// Of a there is one type only: its session is not shown, though the client is named.
		"some types": {[]*access.Grant{reads(clientB), reads(&webhookgatewayv1.EventFilter{
			ClientIds: []string{"a"}, EventTypes: []webhookgatewayv1.EventType{started},
		})}, "b/2 open 1 -5; b/1 open 1 -5"},
		"masked":        {[]*access.Grant{masked(&webhookgatewayv1.EventFilter{})}, "c/ open 1 -5; b/ open 1 -5; b/ open 1 -5; a/ done 2 -4"},
		"partly masked": {[]*access.Grant{reads(clientA), masked(clientA, clientB)}, "b/ open 1 -5; b/ open 1 -5; a/1 done 2 -4"},
	} {
		if got := g.list(as(t, tc.grants...), t, &request{}); got != tc.want {
			t.Errorf("%s: %s\nwant %s", name, got, tc.want)
		}
	}
	ctx := as(t, reads(clientA), masked(clientA, clientB))
	if got, want := g.list(ctx, t, &request{Subjects: []string{"1"}}), "a/1 done 2 -4"; got != want {
		t.Errorf("asked for a subject that is masked elsewhere: %s, want %s", got, want)
	}
	page, err := g.client.ListSessions(ctx, &request{ClientIds: []string{"b"}})
	if err != nil || len(page.GetSessions()[0].GetMasked()) != 2 {
		t.Errorf("what is masked is not told: %v %v", page, err)
	}
}
