package subscription

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
)

// A subscription is deleted while its workers acknowledge: the gateway starts
// again, and another of the name delivers everything.
func TestDeleteWhileAcknowledging(t *testing.T) {
	const workers, events = 8, 200
	g := startGateway(t, pebblelogtest.NewDisk())
	for range events {
		g.append(t, "a", "")
	}
	for range 5 {
		g.create(t, "s", nil)
		var settled atomic.Int64
		enough := make(chan struct{})
		var once sync.Once
		var group sync.WaitGroup
		for range workers {
			stream := g.attach(t)
			group.Go(func() {
				defer stream.Close()
				for {
					batch, err := stream.Next(t.Context(), 4)
					if err != nil {
						if !errors.Is(err, ErrNotFound) {
							t.Errorf("Next() = %v, want ErrNotFound", err)
						}
						return
					}
					for _, d := range stream.Sending(batch.Deliveries) {
						results, err := g.manager.Acknowledge(t.Context(), "s", tokens(d))
						if err != nil {
							if !errors.Is(err, ErrNotFound) {
								t.Errorf("Acknowledge() = %v, want ErrNotFound", err)
							}
							return
						}
						if results[0] == resultOK && settled.Add(1) == events/4 {
							once.Do(func() { close(enough) })
						}
					}
				}
			})
		}
		<-enough
		if err := g.manager.Delete(t.Context(), "s"); err != nil {
			t.Fatalf("Delete() = %v", err)
		}
		group.Wait()
		if _, err := g.manager.Acknowledge(t.Context(), "s", nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("Acknowledge() = %v, want ErrNotFound", err)
		}
		g = g.crash(t)
		if list, err := g.manager.List(t.Context(), "", 10, nil); err != nil || len(list) != 0 {
			t.Fatalf("after the restart: %v, %v", list, err)
		}
	}
	g.create(t, "s", nil)
	stream := g.attach(t)
	g.setCredit(t, stream, events)
	for i, d := range next(t, stream, events) {
		if d.Position != eventlog.Position(i+1) || d.Attempt != 1 {
			t.Fatalf("delivery %d is %d/%d", i, d.Position, d.Attempt)
		}
	}
}

// What an earlier subscription of the name left behind, however, is gone.
func TestCreateBeginsEmpty(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1", "2")
	term, err := g.log.AcquireScope(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, blockBytes)
	block[0] = 0xff
	left := []eventlog.StateMutation{{Key: change{pairBlock, 0}.key(), Value: block}}
	if err := g.log.CommitScope(t.Context(), "s", term, left); err != nil {
		t.Fatal(err)
	}
	g.create(t, "s", nil)
	g = g.crash(t)
	wantDeliveries(t, next(t, g.attach(t), 2), "1/1", "2/1")
}

// TestDeleteFails: a deletion that waits for the store, and fails in the end, is nothing that workers are told of. They
// would take the subscription for deleted, end, and leave it without workers.
func TestDeleteFails(t *testing.T) {
	store := &failingStore{drops: make(chan chan error, 1)}
	g := startGatewayWith(t, store)
	g.append(t, "a", "1", "2")
	g.create(t, "s", nil)
	stream := g.attach(t)
	deleted := make(chan error)
	remove := func() chan error {
		go func() { deleted <- g.manager.Delete(t.Context(), "s") }()
		return <-store.drops
	}
	decide := remove()
	g.wantAck(t, resultOK, next(t, stream, 1)...)
	if _, err := g.manager.Get(t.Context(), "s"); err != nil {
		t.Errorf("Get() = %v", err)
	}
	decide <- errDisk
	if err := <-deleted; !errors.Is(err, errDisk) {
		t.Errorf("Delete() = %v, want the error of the store", err)
	}
	g.wantAck(t, resultOK, next(t, stream, 1)...)
	remove() <- nil
	if err := <-deleted; err != nil {
		t.Errorf("Delete() = %v", err)
	}
	if _, err := stream.Next(t.Context(), 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("Next() = %v, want ErrNotFound", err)
	}
}

func startGatewayWith(t *testing.T, store *failingStore) *gateway {
	t.Helper()
	disk := pebblelogtest.NewDisk()
	log := disk.Open(t)
	store.StateStore = log
	return startOn(t, disk, log, log, store)
}

// A subscription that cannot be loaded is listed with the reason, refused, and can
// be deleted; the others run.
func TestUnusable(t *testing.T) {
	definition := func(version byte, sub *webhookgatewayv1.Subscription) []byte {
		b, err := proto.Marshal(sub)
		if err != nil {
			t.Fatal(err)
		}
		return append(append([]byte{version}, make([]byte, len(sealKey{}))...), b...)
	}
	good := func(name string) []byte {
		return definition(definitionVersion, &webhookgatewayv1.Subscription{Name: name})
	}
	pair := func(key string, value []byte) eventlog.StateMutation {
		return eventlog.StateMutation{Key: []byte(key), Value: value}
	}
	number := "\x00\x00\x00\x00\x00\x00\x00\x01"
	broken := map[string][]eventlog.StateMutation{
		"unknown-type": {pair("d", definition(definitionVersion, &webhookgatewayv1.Subscription{
			Name: "unknown-type", Filters: []*webhookgatewayv1.EventFilter{{EventTypes: []webhookgatewayv1.EventType{9999}}},
		}))},
		"unknown-ordering": {pair("d", definition(definitionVersion, &webhookgatewayv1.Subscription{
			Name: "unknown-ordering", Settings: &webhookgatewayv1.SubscriptionSettings{Ordering: 99},
		}))},
		"newer-field": {pair("d", definition(definitionVersion, newer(&webhookgatewayv1.Subscription{Name: "newer-field"})))},
		"newer-setting": {pair("d", definition(definitionVersion, &webhookgatewayv1.Subscription{
			Name: "newer-setting", Settings: newer(&webhookgatewayv1.SubscriptionSettings{}),
		}))},
		"newer-condition": {pair("d", definition(definitionVersion, &webhookgatewayv1.Subscription{
			Name: "newer-condition", Filters: []*webhookgatewayv1.EventFilter{newer(&webhookgatewayv1.EventFilter{})},
		}))},
		"other-version":   {pair("d", definition(definitionVersion+1, &webhookgatewayv1.Subscription{Name: "other-version"}))},
		"other-name":      {pair("d", good("else"))},
		"empty":           {pair("d", nil)},
		"no-definition":   {pair("s"+number, make([]byte, 8))},
		"malformed-pair":  {pair("d", good("malformed-pair")), pair("b"+number, []byte("short"))},
		"malformed-apart": {pair("d", good("malformed-apart")), pair("w"+number, []byte("short"))},
		"malformed-count": {pair("d", good("malformed-count")), pair("n\x00\x00\x00\x00\x00\x00\x00\x00", []byte("short"))},
		"unknown-pair":    {pair("d", good("unknown-pair")), pair("x"+number, nil)},
		"unknown-key":     {pair("d", good("unknown-key")), pair("zz", nil)},
	}
	g := startGateway(t, pebblelogtest.NewDisk())
	g.append(t, "a", "1")
	g.create(t, "s", nil)
	for name, pairs := range broken {
		term, err := g.log.AcquireScope(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.log.CommitScope(t.Context(), name, term, pairs); err != nil {
			t.Fatal(err)
		}
	}
	g = g.crash(t)
	g.wantAck(t, resultOK, next(t, g.attach(t), 1)...)
	list, err := g.manager.List(t.Context(), "", 100, nil)
	if err != nil || len(list) != len(broken)+1 || !slices.IsSortedFunc(list, func(a, b *webhookgatewayv1.Subscription) int { return strings.Compare(a.GetName(), b.GetName()) }) {
		t.Fatalf("List() = %v, %v", list, err)
	}
	for _, sub := range list {
		if (sub.GetStatus().GetUnusable() != "") != (broken[sub.GetName()] != nil) {
			t.Errorf("%s is unusable: %q", sub.GetName(), sub.GetStatus().GetUnusable())
		}
	}
	for name, pairs := range broken {
		for call, err := range map[string]error{
			"Create":     second(g.manager.Create(t.Context(), &webhookgatewayv1.Subscription{Name: name}, fromTheBeginning)),
			"Update":     second(g.manager.Update(t.Context(), &webhookgatewayv1.Subscription{Name: name}, nil, nil)),
			"Seek":       second(g.manager.Seek(t.Context(), name, 0)),
			"Attach":     second(g.manager.Attach(name, StreamOptions{})),
			"Ack":        second(g.manager.Acknowledge(t.Context(), name, nil)),
			"ListParked": second(g.manager.ListParked(t.Context(), name, 0, 1, 1)),
		} {
			var unusable *UnusableError
			if !errors.As(err, &unusable) || unusable.Name != name || unusable.Reason == "" {
				t.Errorf("%s of %s = %v, want an UnusableError", call, name, err)
			}
		}
		for _, p := range pairs { // for the version that wrote it
			for found, err := range g.log.ReadScope(t.Context(), name, p.Key, append(slices.Clip(p.Key), 0)) {
				if err != nil || !bytes.Equal(found.Value, p.Value) {
					t.Errorf("%s of %s was %x, and is %x, %v", p.Key, name, p.Value, found.Value, err)
				}
			}
		}
		if err := g.manager.Delete(t.Context(), name); err != nil {
			t.Errorf("Delete() of %s = %v", name, err)
		}
		if _, err := g.manager.Create(t.Context(), &webhookgatewayv1.Subscription{Name: name}, fromTheBeginning); err != nil {
			t.Errorf("Create() of %s after it was deleted = %v", name, err)
		}
	}
	if list, err := g.crash(t).manager.List(t.Context(), "", 100, nil); err != nil || slices.ContainsFunc(list, func(s *webhookgatewayv1.Subscription) bool { return s.GetStatus().GetUnusable() != "" }) {
		t.Errorf("after it was mended: %v, %v", list, err)
	}
}

// unreadableStore cannot be read while it fails.
type unreadableStore struct {
	eventlog.StateStore
	noList, noScopes atomic.Bool
}

func (s *unreadableStore) ListScopes(ctx context.Context, prefix string) iter.Seq2[string, error] {
	if s.noList.Load() {
		return func(yield func(string, error) bool) { yield("", errDisk) }
	}
	return s.StateStore.ListScopes(ctx, prefix)
}

func (s *unreadableStore) ReadScope(ctx context.Context, scope string, from, to []byte) iter.Seq2[eventlog.StatePair, error] {
	if s.noScopes.Load() {
		return func(yield func(eventlog.StatePair, error) bool) { yield(eventlog.StatePair{}, errDisk) }
	}
	return s.StateStore.ReadScope(ctx, scope, from, to)
}

// A gateway whose store cannot be read starts, and has its subscriptions when it
// can.
func TestStartWithoutStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := pebblelogtest.NewDisk()
		first := startGateway(t, disk)
		first.append(t, "a", "1")
		first.create(t, "s", nil)
		disk = disk.Crash()
		log := disk.Open(t)
		store := &unreadableStore{StateStore: log}
		store.noList.Store(true)
		g := startOn(t, disk, log, log, store)
		wantUnavailable := func() {
			t.Helper()
			for call, err := range map[string]error{
				"Get":    second(g.manager.Get(t.Context(), "s")),
				"Attach": second(g.manager.Attach("s", StreamOptions{})),
				"Create": second(g.manager.Create(t.Context(), &webhookgatewayv1.Subscription{Name: "s"}, fromTheBeginning)),
				"Delete": g.manager.Delete(t.Context(), "s"),
			} {
				if !errors.Is(err, errDisk) {
					t.Errorf("%s = %v, want the error of the store", call, err)
				}
			}
		}
		wantUnavailable()
		store.noScopes.Store(true)
		store.noList.Store(false)
		<-time.After(2 * time.Second)
		wantUnavailable()
		store.noScopes.Store(false)
		<-time.After(10 * time.Second)
		wantDeliveries(t, next(t, g.attach(t), 1), "1/1")
	})
}
