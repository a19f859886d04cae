// Package cluster knows which gateways are alive, of those that share an event log, and
// which of them owns what.
//
// Each gateway has a scope of its own in the state store, and writes a beat into it each
// second. A beat is a commit of the shared log: when it returns, everything that was
// committed before is applied to the copy of this gateway. So what is seen right after a
// beat of one's own is current, and beats are compared with beats, never with a clock.
//
// Who is a member is decided in the log: a gateway is one while its scope has something.
// One that leaves drops its scope. One that does not beat while another beats Patience
// times is dead, and whoever finds that out drops its scope. Should it be alive after all,
// its next beat fails, and it joins again. One that comes owns nothing until every other one
// has written that it knows of it.
//
// So at no time two are certain of owning the same: one that leaves has stopped before, one
// that is dead is not certain since before the others took it for dead (as long as their
// clocks run about equally fast), and one that comes begins after the others have stopped.
package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

const (
	// Patience is how many beats of its own a gateway waits for the next beat of another,
	// before it takes that for dead.
	Patience = 5
	// Endurance is how many beats in a row a gateway may miss before it takes itself for
	// dead. It is longer than Patience: a commit log that elects a leader takes no beats
	// from anybody, for up to 18 s as measured, and then nobody takes over anything. It
	// would be wrong to end the streams of all workers for that. Meanwhile a gateway is not
	// certain of what it owns: see Certain.
	Endurance = 20
	// certainty is how many beats in a row a gateway may miss and be certain that the others
	// do not take it for dead yet.
	certainty = Patience - 1

	beatInterval = time.Second
	// lookInterval is how often the copy is looked at for who came and left.
	lookInterval = 100 * time.Millisecond
)

// Params are what a Cluster needs.
type Params struct {
	// States is the store that all gateways have a copy of.
	States eventlog.StateStore
	// Address is where the other gateways reach this one, as host:port.
	Address string
	// Dial says how other gateways are called, and by which secrets they call this one.
	Dial Dial
	// Current reports whether the copy of this gateway is known to have all that was in the
	// log when it was opened. Until it does, and while it is made anew, it tells nothing of
	// the other gateways. Nil: it always does.
	Current func() bool
	Logger  *slog.Logger
	// Registerer gets the metrics.
	Registerer prometheus.Registerer
	// Beats, for tests, has a value when a beat is due, in place of each second. What
	// became of the beat is sent to it: it has room.
	Beats <-chan chan<- error
}

// Cluster is the place of this gateway among the others. All methods are safe for
// concurrent use.
type Cluster struct {
	Params
	id      string
	started time.Time
	peers   *peers

	ctx    context.Context //nolint:containedctx // the life of the goroutine
	cancel context.CancelFunc
	done   chan struct{}
	// looking is held by who looks, so that views are published in order.
	looking sync.Mutex
	seen    map[string]*sighting // guarded by looking

	mu   sync.Mutex
	view *View
	// since is when the last beat that succeeded began, and missed how many beats were due
	// since then.
	since  time.Time
	missed int
	// arrived: every other gateway has known of this one, since it joined.
	arrived bool
	// twin: another gateway is alive at the address of this one.
	twin bool
	// told are the members that it has told the others it knows of.
	told []string
	term uint64 // of its scope, 0 if it has none
	beat uint64 // the number of the last one
	// running is the beat that is under way, and next the one after it, if somebody waits
	// for one that begins later.
	running, next *flight
	left          bool
}

// New makes this gateway a member, as soon as the store can take it. Nothing is waited for.
func New(params Params) (*Cluster, error) {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails: see crypto/rand
	c := &Cluster{
		Params: params, id: hex.EncodeToString(id), started: time.Now(), done: make(chan struct{}),
		seen: make(map[string]*sighting), missed: Endurance,
	}
	c.view = &View{changed: make(chan struct{})}
	c.peers = newPeers(params.Dial)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if err := params.Registerer.Register(collector{c}); err != nil {
		c.cancel()
		return nil, fmt.Errorf("register the metrics of the cluster: %w", err)
	}
	go c.run()
	return c, nil
}

// ID returns what the cluster calls this gateway.
func (c *Cluster) ID() string { return c.id }

// run beats and looks until the gateway leaves.
func (c *Cluster) run() {
	defer close(c.done)
	var ticks <-chan time.Time
	if c.Beats == nil {
		ticker := time.NewTicker(beatInterval)
		defer ticker.Stop()
		ticks = ticker.C
	}
	looks := time.NewTicker(lookInterval)
	defer looks.Stop()
	c.due()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-ticks:
			c.due()
		case answer := <-c.Beats:
			go c.due().report(answer)
		case <-looks.C:
			if c.Current == nil || c.Current() {
				_ = c.look(c.ctx, false) // it is logged
			}
		}
	}
}

// Leave has the others take over what this gateway owns. The gateway owns nothing
// any more, and closes its connections to the others.
func (c *Cluster) Leave(ctx context.Context) error {
	c.cancel()
	<-c.done
	c.mu.Lock()
	c.left = true
	running := c.running
	c.mu.Unlock()
	c.publish(nil)
	defer c.peers.close()
	if running != nil {
		select {
		case <-running.done:
		case <-ctx.Done():
			return fmt.Errorf("leave the cluster: %w", context.Cause(ctx))
		}
	}
	c.mu.Lock()
	term := c.term
	c.mu.Unlock()
	if term == 0 {
		return nil
	}
	err := c.States.DropScope(ctx, scopePrefix+c.id, term)
	if err != nil && !errors.Is(err, eventlog.ErrScopeLost) { // the others took it for dead
		return fmt.Errorf("leave the cluster: %w", err)
	}
	return nil
}
