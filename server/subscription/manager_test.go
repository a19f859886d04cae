package subscription

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

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
	if _, err := g.manager.Update(t.Context(), &webhookgatewayv1.Subscription{Name: "s", Settings: &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 3}}, &fieldmaskpb.FieldMask{Paths: []string{"*"}}, nil); err != nil {
		t.Fatalf("Update() = %v", err)
	}
	g.create(t, "r", nil)
	g = g.crash(t)
	list, err := g.manager.List(t.Context(), "", 10, nil)
	if err != nil || len(list) != 2 || list[0].GetName() != "r" || list[1].GetName() != "s" {
		t.Fatalf("List() = %v, %v", list, err)
	}
	if list[1].GetSettings().GetMaxAttempts() != 3 || len(list[1].GetFilters()) != 1 || len(list[1].GetFilters()[0].GetClientIds()) != 0 {
		t.Errorf("after the update: %v", list[1])
	}
	if list, err := g.manager.List(t.Context(), "r", 1, nil); err != nil || len(list) != 1 || list[0].GetName() != "s" {
		t.Errorf("List() = %v, %v", list, err)
	}
	if err := g.manager.Delete(t.Context(), "r"); err != nil {
		t.Errorf("Delete() = %v", err)
	}
	g = g.crash(t)
	for name, err := range map[string]error{
		"Get":    second(g.manager.Get(t.Context(), "r")),
		"Seek":   second(g.manager.Seek(t.Context(), "r", 0)),
		"Update": second(g.manager.Update(t.Context(), &webhookgatewayv1.Subscription{Name: "r"}, nil, nil)),
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
	if _, err := g.manager.Update(t.Context(), &webhookgatewayv1.Subscription{Name: "s"}, &fieldmaskpb.FieldMask{Paths: []string{"filters"}}, nil); err != nil {
		t.Fatal(err)
	}
	wantDeliveries(t, next(t, stream, 1), "3/1")
	g.wantAck(t, resultOK, d[0])
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
