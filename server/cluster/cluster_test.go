package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/webhook-gateway/webhook-gateway/server/cluster"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gateway is the place of one gateway, and the copy that it goes by.
type gateway struct {
	*cluster.Cluster

	t     *testing.T
	beats chan chan<- error
	log   *pebblelog.Log
	cut   *atomic.Bool // its commits fail
}

// cutOff are the faults of a gateway that may be cut off from the commit log.
type cutOff struct{ cut atomic.Bool }

var errCut = errors.New("cut off")

func (c *cutOff) Before([]byte) error {
	if c.cut.Load() {
		return errCut
	}
	return nil
}

func (c *cutOff) After(_ []byte, answer error) error { return answer }

func join(t *testing.T, memory *commitlogtest.Memory, address string) *gateway {
	t.Helper()
	faults := &cutOff{}
	commits := memory.Open(faults)
	config := pebblelog.DefaultConfig()
	config.Path = t.TempDir()
	logger := slog.New(slog.DiscardHandler)
	log, err := pebblelog.Open(config, logger, pebblelog.WithCommits(t.Context(), commits))
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, beats: make(chan chan<- error), log: log, cut: &faults.cut}
	g.Cluster, err = cluster.New(cluster.Params{
		States: log, Address: address, Logger: logger, Registerer: prometheus.NewRegistry(), Beats: g.beats,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		faults.cut.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = g.Leave(ctx)
		_ = log.Close()
		_ = commits.Close()
	})
	return g
}

func (g *gateway) beat() error {
	if err := g.Sync(g.t.Context()); err != nil { // the beat before has ended
		return err
	}
	answer := make(chan error, 1)
	g.beats <- answer
	return <-answer
}

// await waits until a gateway knows exactly some, by their addresses.
func (g *gateway) await(addresses ...string) {
	g.t.Helper()
	want := make(map[string]bool)
	for _, a := range addresses {
		want[a] = true
	}
	timeout := time.After(time.Minute)
	for {
		view := g.View()
		have := make(map[string]bool)
		for _, m := range view.Members {
			have[m.Address] = true
		}
		if fmt.Sprint(have) == fmt.Sprint(want) {
			return
		}
		select {
		case <-view.Changed():
		case <-timeout:
			g.t.Fatalf("it knows %v, want %v", have, want)
		}
	}
}

// TestComeAndGo: gateways see each other come and leave without a beat of their own.
func TestComeAndGo(t *testing.T) {
	t.Parallel()
	memory := commitlogtest.NewMemory()
	a := join(t, memory, "a")
	a.await("a")
	b := join(t, memory, "b")
	b.await("a", "b")
	a.await("a", "b")
	if err := b.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.await("a")
	b.await()
	if b.Owns("anything") {
		t.Error("a gateway that has left owns something")
	}
	if err := b.Sync(t.Context()); err == nil {
		t.Error("a gateway that has left beats")
	}
}

// TestDeath: a gateway that falls silent is dead after Patience beats of another, for all;
// the first of these beats may have come right after its last one, and does not count.
func TestDeath(t *testing.T) {
	t.Parallel()
	memory := commitlogtest.NewMemory()
	a, b, c := join(t, memory, "a"), join(t, memory, "b"), join(t, memory, "c")
	for _, g := range []*gateway{a, b, c} {
		g.awaitOwner("a", "b", "c")
	}
	beats := func(all ...*gateway) {
		t.Helper()
		for _, g := range all {
			if err := g.beat(); err != nil {
				t.Fatal(err)
			}
		}
	}
	beats(c, b, a)
	c.cut.Store(true) // silent: it would join again as soon as it saw that it is dead
	for range cluster.Patience - 1 {
		beats(b, a)
	}
	for _, g := range []*gateway{a, b, c} {
		g.await("a", "b", "c")
	}
	beats(b, a)
	a.await("a", "b")
	b.await("a", "b")

	// It was only slow: it finds out, and joins again.
	c.cut.Store(false)
	for _, g := range []*gateway{a, b, c} {
		g.awaitOwner("a", "b", "c")
	}
}

// TestCutOff: a gateway that cannot beat for long takes itself for dead, and is back with its
// first beat.
func TestCutOff(t *testing.T) {
	t.Parallel()
	memory := commitlogtest.NewMemory()
	a, b := join(t, memory, "a"), join(t, memory, "b")
	a.await("a", "b")
	b.await("a", "b")
	b.awaitOwner("a", "b")
	if err := b.beat(); err != nil {
		t.Fatal(err)
	}
	b.cut.Store(true)
	for range cluster.Patience - 1 {
		b.beats <- make(chan error, 1) // it is not decided as long as the gateway is cut off
	}
	b.beats <- make(chan error, 1) // the one before is taken note of
	if b.ownsSomething(b.Certain) || !b.ownsSomething(b.Owns) {
		t.Error("it is certain of what it owns, or owns nothing, though the others may take it for dead")
	}
	for range cluster.Endurance - cluster.Patience - 1 {
		b.beats <- make(chan error, 1)
	}
	b.await("a", "b")
	b.beats <- make(chan error, 1)
	b.await()
	if b.ownsSomething(b.Owns) {
		t.Error("it owns something")
	}
	a.await("a", "b")
	b.cut.Store(false)
	b.await("a", "b")
	b.awaitOwner("a", "b")
}

// TestArrival: a gateway that comes owns nothing until every other one has said that it
// knows of it; then that one is not certain any more of what passes to the other.
func TestArrival(t *testing.T) {
	t.Parallel()
	memory := commitlogtest.NewMemory()
	a := join(t, memory, "a")
	a.awaitOwner("a")
	a.cut.Store(true)
	b := join(t, memory, "b")
	b.await("a", "b")
	if err := b.beat(); err != nil {
		t.Fatal(err)
	}
	if b.ownsSomething(b.Owns) {
		t.Error("it owns something that the other may own")
	}
	a.cut.Store(false)
	b.awaitOwner("a", "b")
	a.awaitOwner("a", "b")
	for i := range 100 {
		if name := fmt.Sprint("team", i); a.Certain(name) == b.Certain(name) {
			t.Errorf("both own %s, or neither", name)
		}
	}
}

// awaitOwner waits until a gateway knows exactly some, by their addresses, and is certain to
// own something: all others know of it.
func (g *gateway) awaitOwner(addresses ...string) {
	g.t.Helper()
	g.await(addresses...)
	timeout := time.After(time.Minute)
	for !g.ownsSomething(g.Certain) {
		select {
		case <-time.After(time.Millisecond): // it may become certain without another view
		case <-timeout:
			g.t.Fatal("it owns nothing")
		}
	}
}

func (g *gateway) ownsSomething(owns func(string) bool) bool {
	for i := range 100 {
		if owns(fmt.Sprint("team", i)) {
			return true
		}
	}
	return false
}

// TestSyncSees: after Sync a gateway sees what others had committed before.
func TestSyncSees(t *testing.T) {
	t.Parallel()
	memory := commitlogtest.NewMemory()
	a, b := join(t, memory, "a"), join(t, memory, "b")
	a.await("a", "b")
	for i := range 20 {
		scope := fmt.Sprint("scope", i)
		term, err := a.log.AcquireScope(t.Context(), scope)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.log.CommitScope(t.Context(), scope, term, []eventlog.StateMutation{{Key: []byte("k"), Value: []byte("v")}}); err != nil {
			t.Fatal(err)
		}
		if err := b.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		found := false
		for pair, err := range b.log.ReadScope(t.Context(), scope, nil, nil) {
			found = err == nil && string(pair.Value) == "v"
		}
		if !found {
			t.Fatalf("%s is not seen after a Sync", scope)
		}
	}
}

// TestACheckOfATermIsNoCommit: what owners do each second, for each subscription, costs the
// commit log nothing, and tells who has lost the scope.
func TestACheckOfATermIsNoCommit(t *testing.T) {
	t.Parallel()
	memory := commitlogtest.NewMemory()
	a, b := join(t, memory, "a"), join(t, memory, "b")
	for _, g := range []*gateway{a, b} {
		g.awaitOwner("a", "b")
		if err := g.beat(); err != nil {
			t.Fatal(err)
		}
	}
	term, err := a.log.AcquireScope(t.Context(), "scope")
	if err != nil {
		t.Fatal(err)
	}
	before := memory.Len()
	for range 10 {
		if err := a.log.CommitScope(t.Context(), "scope", term, nil); err != nil {
			t.Fatal(err)
		}
	}
	if now := memory.Len(); now != before {
		t.Errorf("%d commits for 10 checks", now-before)
	}
	if _, err := b.log.AcquireScope(t.Context(), "scope"); err != nil {
		t.Fatal(err)
	}
	if err := a.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.log.CommitScope(t.Context(), "scope", term, nil); !errors.Is(err, eventlog.ErrScopeLost) {
		t.Errorf("a check of a scope that is another's: %v", err)
	}
}

// TestTwins: gateways that give the others the same address say so, and one that was started
// again, whose former self is not dead yet, does not.
func TestTwins(t *testing.T) {
	t.Parallel()
	memory := commitlogtest.NewMemory()
	former := join(t, memory, "a")
	former.await("a")
	former.cut.Store(true)
	a := join(t, memory, "a")
	beats := func(all ...*gateway) {
		t.Helper()
		for _, g := range all {
			if err := g.beat(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range cluster.Patience + 2 {
		beats(a)
		if warnings := a.Warnings(); warnings != nil {
			t.Errorf("its former self is another one: %v", warnings)
		}
	}
	b := join(t, memory, "a")
	beats(b, a, b, a, b)
	for _, g := range []*gateway{a, b} {
		if warnings := fmt.Sprint(g.Warnings()); !strings.Contains(warnings, "cluster.advertise") {
			t.Errorf("the warnings are %v", warnings)
		}
	}
	if err := b.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	beats(a)
	if warnings := a.Warnings(); warnings != nil {
		t.Errorf("the other one has left: %v", warnings)
	}
}
