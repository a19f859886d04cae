package subscription

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

func TestDeliverAndAcknowledge(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1", "2", "3")
	g.append(t, "b", "4")
	g.append(t, "a", "5")
	g.create(t, "s", nil, "a")
	stream := g.attach(t)
	d := next(t, stream, 4)
	wantDeliveries(t, d, "1/1", "2/1", "3/1", "5/1")
	i := 0
	for event, err := range stream.Read(t.Context(), d) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Record.Position != d[i].Position || event.AckToken() != d[i].AckToken() {
			t.Errorf("event %d is %d", i, event.Record.Position)
		}
		i++
	}
	if i != 4 {
		t.Errorf("%d events were read, want 4", i)
	}
	g.wantAck(t, resultOK, d[1], d[2])
	if got := g.cursor(t); got != 0 {
		t.Errorf("cursor %d, want 0", got)
	}
	g.wantAck(t, resultOK, d[0])
	if got := g.cursor(t); got != 4 {
		t.Errorf("cursor %d, want 4", got)
	}
	g.wantAck(t, resultSettled, d[0])
	if got := g.status(t); got.GetInFlightEvents() != 1 || got.GetLagEvents() != 1 || got.GetStreams() != 1 {
		t.Errorf("status %v", got)
	}
	if batch, err := stream.Next(t.Context(), 1); err != nil || !batch.CaughtUp {
		t.Errorf("Next() = %+v, %v, want caught up", batch, err)
	}
	if got := stream.Progress(); got != (Progress{Cursor: 5, Head: 5}) {
		t.Errorf("progress %+v", got)
	}
}

func TestTokensNobodyGave(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1")
	g.create(t, "s", nil)
	stream := g.attach(t)
	d := next(t, stream, 1)
	good := d[0].AckToken()
	foreign := newSeal(newSealKey()).appendToken(nil, d[0].lease)
	texts := []string{"", "x", good[1:], good + "A", string(foreign)}
	for i := range len(good) {
		bad := []byte(good)
		bad[i] = map[bool]byte{true: 'A', false: 'B'}[bad[i] != 'A']
		texts = append(texts, string(bad))
	}
	wantResults(t, resultUnknown, func() ([]webhookgatewayv1.TokenResult, error) {
		return g.manager.Acknowledge(t.Context(), "s", texts)
	})
	if err := g.manager.Delete(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.manager.Acknowledge(t.Context(), "s", []string{good}); !errors.Is(err, ErrNotFound) {
		t.Errorf("Acknowledge() of a deleted subscription = %v, want ErrNotFound", err)
	}
	if _, err := stream.Next(t.Context(), 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("Next() of a deleted subscription = %v, want ErrNotFound", err)
	}
	// Another of the same name is another.
	g.create(t, "s", nil)
	g.wantAck(t, resultUnknown, d[0])
	wantDeliveries(t, next(t, g.attach(t), 1), "1/1")
}

func TestCrash(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1", "2", "3", "4", "5", "6")
	g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MinBackoff: durationpb.New(0)})
	d := next(t, g.attach(t), 6)
	g.wantAck(t, resultOK, d[0], d[3], d[5])
	wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
		return g.manager.Park(t.Context(), "s", tokens(d[4]), "no such account")
	})
	wantResults(t, resultOK, func() ([]webhookgatewayv1.TokenResult, error) {
		return g.manager.Retry(t.Context(), "s", tokens(d[2]), -1, "")
	})

	g = g.crash(t)
	stream := g.attach(t)
	again := next(t, stream, 2)
	// What waited is known at once, the log is read after it.
	slices.SortFunc(again, func(a, b Delivery) int { return cmp.Compare(a.Position, b.Position) })
	wantDeliveries(t, again, "2/1", "3/2")
	g.wantAck(t, resultFenced, d[1], d[2])
	g.wantAck(t, resultSettled, d[0], d[3], d[4], d[5])
	parked, err := g.manager.ListParked(t.Context(), "s", 0, 10, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	want := Parked{Position: 5, Reason: webhookgatewayv1.ParkReason_PARK_REASON_REJECTED, Message: "no such account", Attempts: 0, HasRecord: true}
	if len(parked) != 1 || parked[0].Time.IsZero() {
		t.Fatalf("parked %+v", parked)
	}
	if got := string(parked[0].Record.Subject()); got != "5" {
		t.Errorf("the copy is of the subject %q, want 5", got)
	}
	parked[0].Time, parked[0].Record = time.Time{}, eventlog.Record{}
	if diff := gocmp.Diff(want, parked[0], cmpopts.IgnoreUnexported(eventlog.Record{})); diff != "" {
		t.Errorf("parked (-want +got):\n%s", diff)
	}
	g.wantAck(t, resultOK, again...)

	n, unknown, err := g.manager.Replay(t.Context(), "s", []eventlog.Position{4, 5})
	if n != 1 || !slices.Equal(unknown, []eventlog.Position{4}) || err != nil {
		t.Errorf("Replay() = %d, %v, %v", n, unknown, err)
	}
	g = g.crash(t)
	if got := g.cursor(t); got != 6 {
		t.Errorf("cursor %d, want 6", got)
	}
	replayed := next(t, g.attach(t), 1)
	wantDeliveries(t, replayed, "5/1")
	g.wantAck(t, resultOK, replayed...)
	g = g.crash(t)
	if batch, err := g.attach(t).Next(t.Context(), 10); err != nil || !batch.CaughtUp || len(batch.Deliveries) > 0 {
		t.Errorf("Next() = %+v, %v, want caught up", batch, err)
	}
}

// TestCrashWhileAcknowledging crashes at any moment: an event is acknowledged
// with OK, or delivered again.
func TestCrashWhileAcknowledging(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	const events = 300
	for range events {
		g.append(t, "a", "")
	}
	g.create(t, "s", nil)
	var mu sync.Mutex
	acknowledged := make(map[eventlog.Position]bool)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var workers sync.WaitGroup
	for range 4 {
		stream := g.attach(t)
		workers.Go(func() {
			defer stream.Close()
			for {
				batch, err := stream.Next(ctx, 3)
				if err != nil {
					return
				}
				results, err := g.manager.Acknowledge(t.Context(), "s", tokens(batch.Deliveries...))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for i, r := range results {
					if r == resultOK {
						acknowledged[batch.Deliveries[i].Position] = true
					}
				}
				if len(acknowledged) > events/2 {
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	for ctx.Err() == nil {
		mu.Lock()
		before := make(map[eventlog.Position]bool, len(acknowledged))
		for p := range acknowledged {
			before[p] = true
		}
		mu.Unlock()
		crashed := g.crash(t)
		stream := crashed.attach(t)
		crashed.setCredit(t, stream, events)
		seen := make(map[eventlog.Position]bool)
		for {
			batch, err := stream.Next(t.Context(), 1000)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range batch.Deliveries {
				if before[d.Position] {
					t.Errorf("event %d was acknowledged and is delivered", d.Position)
				}
				seen[d.Position] = true
			}
			if batch.CaughtUp {
				break
			}
		}
		recovered := crashed.manager.byName["s"]
		for p := eventlog.Position(1); p <= events; p++ {
			recovered.mu.Lock()
			settled := recovered.machine.isSettled(p)
			recovered.mu.Unlock()
			if seen[p] == settled {
				t.Errorf("event %d is delivered: %t, and settled: %t", p, seen[p], settled)
			}
		}
		stream.Close()
	}
	workers.Wait()
}

func TestDisconnect(t *testing.T) {
	for _, test := range []struct {
		name string
		sent int
		end  func(*Stream)
		want []string
	}{
		{"what was not sent is as if it was never handed", 0, (*Stream).Close, []string{"1/1", "2/1"}},
		{"what the gateway ends is given back unused", 2, (*Stream).Release, []string{"1/1", "2/1"}},
		{"what a worker held alone counts", 1, (*Stream).Close, []string{"2/1", "1/2"}},
		{"of several nobody knows which it was", 2, (*Stream).Close, []string{"1/1", "2/1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := startGateway(t, pebblelogtest.NewDisk())
			g.append(t, "a", "1", "2")
			g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MinBackoff: durationpb.New(10 * time.Millisecond)})
			first, second := g.attach(t), g.attach(t)
			batch, err := first.Next(t.Context(), 2)
			if err != nil {
				t.Fatal(err)
			}
			d := batch.Deliveries
			first.Sending(d[:test.sent])
			test.end(first)
			first.Close()
			g.wantAck(t, resultFenced, d...)
			var again []Delivery
			for range test.want {
				again = append(again, next(t, second, 1)...)
				g.wantAck(t, resultOK, again[len(again)-1])
			}
			wantDeliveries(t, again, test.want...)
			g.wantAck(t, resultSettled, d...)
			if _, err := first.Next(t.Context(), 1); !errors.Is(err, ErrClosed) {
				t.Errorf("Next() of a closed stream = %v, want ErrClosed", err)
			}
		})
	}
}

func TestManage(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	first := g.create(t, "s", nil, "a")
	if got := g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 10}, "a"); !got.GetCreateTime().AsTime().Equal(first.GetCreateTime().AsTime()) {
		t.Errorf("created again: %v, was %v", got, first)
	}
	_, err := g.manager.Create(t.Context(), &webhookgatewayv1.Subscription{
		Name: "s", Settings: &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 3, Ordering: webhookgatewayv1.Ordering_ORDERING_STRICT},
	}, fromTheBeginning)
	var exists *ExistsError
	if !errors.As(err, &exists) || !slices.Equal(exists.Differences, []string{"filters", "settings.max_attempts", "settings.ordering"}) {
		t.Errorf("Create() = %v, want an ExistsError that names the differences", err)
	}
	if _, err := g.manager.Update(t.Context(), &webhookgatewayv1.Subscription{Name: "s", Settings: &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 3}}, &fieldmaskpb.FieldMask{Paths: []string{"*"}}); err != nil {
		t.Fatalf("Update() = %v", err)
	}
	g.create(t, "r", nil)
	g = g.crash(t)
	list, err := g.manager.List(t.Context(), "", 10)
	if err != nil || len(list) != 2 || list[0].GetName() != "r" || list[1].GetName() != "s" {
		t.Fatalf("List() = %v, %v", list, err)
	}
	if list[1].GetSettings().GetMaxAttempts() != 3 || len(list[1].GetFilters()) != 1 || len(list[1].GetFilters()[0].GetClientIds()) != 0 {
		t.Errorf("after the update: %v", list[1])
	}
	if list, err := g.manager.List(t.Context(), "r", 1); err != nil || len(list) != 1 || list[0].GetName() != "s" {
		t.Errorf("List() = %v, %v", list, err)
	}
	if err := g.manager.Delete(t.Context(), "r"); err != nil {
		t.Errorf("Delete() = %v", err)
	}
	g = g.crash(t)
	for name, err := range map[string]error{
		"Get":    second(g.manager.Get(t.Context(), "r")),
		"Seek":   second(g.manager.Seek(t.Context(), "r", 0)),
		"Update": second(g.manager.Update(t.Context(), &webhookgatewayv1.Subscription{Name: "r"}, nil)),
		"Attach": second(g.manager.Attach("r", StreamOptions{})),
		"List":   second(g.manager.ListParked(t.Context(), "r", 0, 1, 1)),
		"Commit": second(g.manager.CommitCursor(t.Context(), "r", 0, "")),
		"Delete": g.manager.Delete(t.Context(), "r"),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s of a subscription that is deleted = %v, want ErrNotFound", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestInvalid(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	for field, in := range map[string]*webhookgatewayv1.Subscription{
		"subscription.name":                              {Name: "Upper"},
		"subscription.name ":                             {},
		"subscription.name  ":                            {Name: "1a"},
		"subscription.settings.ack_deadline":             {Settings: &webhookgatewayv1.SubscriptionSettings{AckDeadline: durationpb.New(time.Millisecond)}},
		"subscription.settings.max_attempts":             {Settings: &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 1001}},
		"subscription.settings.min_backoff":              {Settings: &webhookgatewayv1.SubscriptionSettings{MinBackoff: durationpb.New(-1)}},
		"subscription.settings.max_backoff":              {Settings: &webhookgatewayv1.SubscriptionSettings{MinBackoff: durationpb.New(2), MaxBackoff: durationpb.New(1)}},
		"subscription.settings.max_in_flight_per_stream": {Settings: &webhookgatewayv1.SubscriptionSettings{MaxInFlightPerStream: -1}},
		"subscription.settings.max_in_flight":            {Settings: &webhookgatewayv1.SubscriptionSettings{MaxInFlight: 1_000_001}},
		"subscription.settings.ordering":                 {Settings: &webhookgatewayv1.SubscriptionSettings{Ordering: 9}},
	} {
		if in.GetSettings() != nil {
			in.Name = "s"
		}
		_, err := g.manager.Create(t.Context(), in, fromTheBeginning)
		problems := fielderr.All(err)
		if len(problems) != 1 || problems[0].Path != strings.TrimSpace(field) {
			t.Errorf("Create() = %v, want that %s is not valid", err, field)
		}
	}
}

// Create compares what was asked for, and Update changes what the mask names.
func TestCreateAndUpdate(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	latest := &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Position{Position: webhookgatewayv1.StartPosition_START_POSITION_LATEST}}
	earliest := &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Position{Position: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST}}
	filters := []*webhookgatewayv1.EventFilter{{ClientIds: []string{"b", "a", "a"}}}
	create := func(sub *webhookgatewayv1.Subscription) error {
		sub.Name = "s"
		return second(g.manager.Create(t.Context(), sub, fromTheBeginning))
	}
	if err := create(&webhookgatewayv1.Subscription{Filters: filters}); err != nil {
		t.Fatal(err)
	}
	g.append(t, "a", "1") // the newest event is another now, and what was asked for the same
	if err := create(&webhookgatewayv1.Subscription{Filters: []*webhookgatewayv1.EventFilter{{ClientIds: []string{"a", "b"}}}, Start: latest}); err != nil {
		t.Errorf("Create() = %v", err)
	}
	var exists *ExistsError
	if err := create(&webhookgatewayv1.Subscription{Filters: filters, Start: earliest}); !errors.As(err, &exists) || !slices.Equal(exists.Differences, []string{"start"}) {
		t.Errorf("Create() = %v, want that the start differs", err)
	}
	update := func(paths []string, sub *webhookgatewayv1.Subscription) *webhookgatewayv1.Subscription {
		t.Helper()
		sub.Name = "s"
		got, err := g.manager.Update(t.Context(), sub, &fieldmaskpb.FieldMask{Paths: paths})
		if err != nil {
			t.Fatalf("Update(%v) = %v", paths, err)
		}
		return got
	}
	deadline := &webhookgatewayv1.SubscriptionSettings{AckDeadline: durationpb.New(time.Minute), MaxAttempts: -1}
	for _, test := range []struct {
		paths    []string
		sub      *webhookgatewayv1.Subscription
		deadline time.Duration
		attempts int32
		clients  int
	}{
		{nil, &webhookgatewayv1.Subscription{Settings: deadline}, time.Minute, -1, 2},
		{[]string{"settings.max_attempts", "create_time"}, &webhookgatewayv1.Subscription{}, time.Minute, 10, 2},
		{[]string{"settings"}, &webhookgatewayv1.Subscription{}, 30 * time.Second, 10, 2},
		{[]string{"*"}, &webhookgatewayv1.Subscription{Settings: deadline}, time.Minute, -1, 0},
		{[]string{"filters"}, &webhookgatewayv1.Subscription{Filters: filters}, time.Minute, -1, 2},
	} {
		got := update(test.paths, test.sub)
		if got.GetSettings().GetAckDeadline().AsDuration() != test.deadline || got.GetSettings().GetMaxAttempts() != test.attempts ||
			len(got.GetFilters()[0].GetClientIds()) != test.clients || got.GetCreateTime() == nil {
			t.Errorf("after an update of %v: %v", test.paths, got)
		}
	}
	_, err := g.manager.Update(t.Context(), &webhookgatewayv1.Subscription{Name: "s"}, &fieldmaskpb.FieldMask{Paths: []string{"filters", "colour", "name", "status.cursor", "settings.colour"}})
	if all := fielderr.All(err); len(all) != 2 || all[0].Path != "update_mask.paths[1]" || all[1].Path != "update_mask.paths[4]" {
		t.Errorf("Update() = %v, want two problems of the mask", err)
	}
	if _, err := g.manager.Create(t.Context(), &webhookgatewayv1.Subscription{Name: "S", Settings: &webhookgatewayv1.SubscriptionSettings{MaxAttempts: -2, MaxWaiting: -1}}, fromTheBeginning); len(fielderr.All(err)) != 3 {
		t.Errorf("Create() = %v, want three problems", err)
	}
}

// blockingStore does not acquire a scope before it is let.
type blockingStore struct {
	eventlog.StateStore
	let chan struct{}
}

func (s *blockingStore) AcquireScope(ctx context.Context, scope string) (uint64, error) {
	if scope == "blocked" {
		<-s.let
	}
	return s.StateStore.AcquireScope(ctx, scope)
}

// Metrics are gathered, and events acknowledged, while another subscription is
// being created and a third is locked.
func TestCollectHindersNobody(t *testing.T) {
	disk := pebblelogtest.NewDisk()
	log := disk.Open(t)
	store := &blockingStore{StateStore: log, let: make(chan struct{})}
	registry := prometheus.NewRegistry()
	manager, err := New(t.Context(), Params{Log: log, States: store, Logger: slog.New(slog.DiscardHandler), Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{disk: disk, log: log, manager: manager}
	t.Cleanup(func() { g.stop(t) })
	g.append(t, "a", "1")
	g.create(t, "s", nil)
	g.create(t, "locked", nil)
	d := next(t, g.attach(t), 1)
	created, gathered := make(chan error), make(chan error)
	go func() {
		created <- second(manager.Create(context.WithoutCancel(t.Context()), &webhookgatewayv1.Subscription{Name: "blocked"}, fromTheBeginning))
	}()
	locked := manager.byName["locked"]
	locked.mu.Lock()
	go func() { gathered <- second(registry.Gather()) }()
	g.wantAck(t, resultOK, d...)
	close(store.let)
	if err := <-created; err != nil {
		t.Error(err)
	}
	locked.mu.Unlock()
	if err := <-gathered; err != nil {
		t.Error(err)
	}
}

func TestSeekAndUpdate(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1", "2")
	g.append(t, "b", "3")
	g.create(t, "s", nil, "a")
	stream := g.attach(t)
	d := next(t, stream, 2)
	g.wantAck(t, resultOK, d[0])
	if _, err := g.manager.Seek(t.Context(), "s", 0); err != nil {
		t.Fatal(err)
	}
	g.wantAck(t, resultFenced, d...)
	d = next(t, stream, 2)
	wantDeliveries(t, d, "1/1", "2/1")
	g.wantAck(t, resultOK, d[1])
	if _, err := g.manager.Update(t.Context(), &webhookgatewayv1.Subscription{Name: "s"}, &fieldmaskpb.FieldMask{Paths: []string{"filters"}}); err != nil {
		t.Fatal(err)
	}
	wantDeliveries(t, next(t, stream, 1), "3/1")
	g.wantAck(t, resultOK, d[0])
}

func TestCommitCursor(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1", "2", "3", "4")
	g.create(t, "loose", nil)
	g.create(t, "s", &webhookgatewayv1.SubscriptionSettings{Ordering: webhookgatewayv1.Ordering_ORDERING_STRICT})
	if _, err := g.manager.CommitCursor(t.Context(), "loose", 1, ""); !errors.Is(err, ErrNotStrict) {
		t.Errorf("CommitCursor() = %v, want ErrNotStrict", err)
	}
	d := next(t, g.attach(t), 3)
	if _, err := g.manager.CommitCursor(t.Context(), "s", 3, d[0].AckToken()); !errors.Is(err, ErrCursorNotDelivered) {
		t.Errorf("CommitCursor() = %v, want ErrCursorNotDelivered", err)
	}
	if result, err := g.manager.CommitCursor(t.Context(), "s", 2, "x"); result != resultUnknown || err != nil {
		t.Errorf("CommitCursor() = %v, %v, want UNKNOWN", result, err)
	}
	if result, err := g.manager.CommitCursor(t.Context(), "s", 2, d[1].AckToken()); result != resultOK || err != nil {
		t.Errorf("CommitCursor() = %v, %v, want OK", result, err)
	}
	old := d
	g = g.crash(t)
	wantDeliveries(t, next(t, g.attach(t), 2), "3/1", "4/1")
	if result, err := g.manager.CommitCursor(t.Context(), "s", 3, old[2].AckToken()); result != resultFenced || err != nil {
		t.Errorf("CommitCursor() = %v, %v, want FENCED", result, err)
	}
}

func TestClosed(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1")
	g.create(t, "s", nil)
	stream := g.attach(t)
	d := next(t, stream, 1)
	if err := g.manager.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Next(t.Context(), 1); !errors.Is(err, ErrClosed) {
		t.Errorf("Next() = %v, want ErrClosed", err)
	}
	if _, err := g.manager.Acknowledge(t.Context(), "s", tokens(d...)); !errors.Is(err, ErrClosed) {
		t.Errorf("Acknowledge() = %v, want ErrClosed", err)
	}
	if _, err := g.manager.Attach("s", StreamOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Attach() = %v, want ErrClosed", err)
	}
}
