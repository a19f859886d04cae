package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/backoff"
)

// gateways is how many gateways there are.
const gateways = 3

// quickly is how soon a connection is tried again: a minute would be longer than a fault.
var quickly = backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: 500 * time.Millisecond}

// A lab is a whole cluster on this machine, with traffic.
type lab struct {
	dir, binary string
	out         io.Writer
	began       time.Time
	rand        *rand.Rand
	engine      engine
	gateways    []*gateway
	verdicts    *verdicts
	http        *http.Client
	// lastOK is when a delivery that was answered 200 had been sent, by gateway: Unix
	// nanoseconds.
	lastOK [gateways]atomic.Int64
	// disturbed counts the faults at the moment.
	disturbed atomic.Int64

	mu       sync.Mutex // of out
	randomly sync.Mutex // of rand
	// again are the keys that were not answered 200.
	again chan string
	// writing ends before the rest, which reads what was written.
	writing, tasks         sync.WaitGroup
	ctx                    context.Context //nolint:containedctx // the life of the tasks
	endWriting, endTasks   context.CancelFunc
	readers, subscriptions []string
	unmount                func()
	stopped                sync.Once
}

func newLab(dir, binary, kind string, seed uint64, out io.Writer) (*lab, error) {
	l := &lab{
		dir: dir, binary: binary, out: out, began: time.Now(), verdicts: newVerdicts(), again: make(chan string, 1<<20),
		rand: rand.New(rand.NewPCG(seed, seed)), //nolint:gosec // it is repeatable
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	var err error
	switch kind {
	case "jetstream":
		l.engine, err = newNATS(dir, gateways)
	case "postgresql":
		l.engine, err = newPostgreSQL(dir, gateways)
	default:
		err = fmt.Errorf("%q is no engine: choose jetstream or postgresql", kind)
	}
	if err != nil {
		return nil, err
	}
	for n := range gateways {
		g, err := newGateway(l, n)
		if err != nil {
			return nil, err
		}
		l.gateways = append(l.gateways, g)
	}
	return l, nil
}

// start starts everything but the traffic.
func (l *lab) start(ctx context.Context) error {
	if err := l.engine.start(ctx, l.note); err != nil {
		return fmt.Errorf("start %s: %w", l.engine.name(), err)
	}
	l.disturbed.Add(1) // all begin at once
	defer l.disturbed.Add(-1)
	l.ctx, l.endTasks = context.WithCancel(context.WithoutCancel(ctx)) // after Ctrl-C all is judged
	l.note("g1, g2 and g3 are started: the gateways")
	var all sync.WaitGroup
	errs := make([]error, gateways)
	for i, g := range l.gateways {
		if err := g.start(); err != nil {
			return err
		}
		l.tasks.Go(func() { g.watch(l.ctx) })
		all.Go(func() { errs[i] = g.wait(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// work starts the traffic.
func (l *lab) work(perSecond int) error {
	if err := l.startWorkers(l.ctx); err != nil {
		return err
	}
	l.startReaders(l.ctx)
	ctx, end := context.WithCancel(l.ctx)
	l.endWriting = end
	l.startWriters(ctx, perSecond)
	return nil
}

// rest ends the deliveries, and waits until everybody has read all of them and all is acknowledged, or
// until the time is up. Then it judges.
func (l *lab) rest(ctx context.Context, patience time.Duration) {
	l.endWriting()
	l.writing.Wait()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !l.isDone() && pause(ctx, 50*time.Millisecond) == nil {
	}
	l.verdicts.finish(l.readers)
	l.verdicts.finishWork(l.subscriptions)
}

func (l *lab) isDone() bool {
	unread, behind := l.verdicts.missing(l.readers)
	return unread == 0 && len(behind) == 0 && !slices.ContainsFunc(l.subscriptions, func(name string) bool {
		n, _ := l.verdicts.unsettled(name)
		return n > 0
	})
}

// stop ends everything.
func (l *lab) stop(ctx context.Context) { l.stopped.Do(func() { l.end(ctx) }) }

func (l *lab) end(ctx context.Context) {
	if l.endTasks != nil {
		l.endTasks()
	}
	l.writing.Wait()
	l.tasks.Wait()
	var all sync.WaitGroup
	for _, g := range l.gateways {
		if g.cmd == nil {
			continue
		}
		all.Go(func() {
			g.resume()
			g.shutdown()
			if why := g.crashed(); why != "" {
				l.verdicts.fails("no crash", "%s: %s", g.name, why)
			}
			g.verify(ctx)
		})
	}
	all.Wait()
	l.engine.stop()
	l.http.CloseIdleConnections()
	if l.unmount != nil {
		l.unmount()
	}
}

// note prints a line with the time since the beginning.
func (l *lab) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = fmt.Fprintf(l.out, "%6.1fs  %s\n", time.Since(l.began).Seconds(), fmt.Sprintf(format, args...))
}

func (l *lab) isDisturbed() bool { return l.disturbed.Load() > 0 }

func command(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput() //nolint:gosec // our own programs
	return string(out), err
}

// newFolder makes a folder that another user may pass through.
func newFolder() (string, error) {
	dir, err := os.MkdirTemp("", "webhook-gateway-cluster-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711) //nolint:gosec // PostgreSQL is another user
}
