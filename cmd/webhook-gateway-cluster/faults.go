package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// recovery is how soon after the end of a fault every gateway has to answer 200.
const recovery = 20 * time.Second

// A fault is done, lasts for a while, and is undone.
type fault struct {
	name string
	// alone is for one that leaves nothing else to go wrong.
	alone bool
	// spoils is for one that needs machines that can be spoiled.
	spoils bool
	run    func(ctx context.Context) error
	// then does what is to be put right when all goes on without it. Nil: nothing.
	then func(ctx context.Context) error
}

// hold waits for a random time up to a longest one.
func (l *lab) hold(ctx context.Context, longest time.Duration) error {
	return pause(ctx, longest/10+time.Duration(l.random(int(longest*9/10))))
}

// random is a random number below n, also for several faults at the same time.
func (l *lab) random(n int) int {
	l.randomly.Lock()
	defer l.randomly.Unlock()
	return l.rand.IntN(n)
}

// gatewayFaults are what happens to the gateways.
func (l *lab) gatewayFaults() []fault {
	anyone := func() *gateway { return l.gateways[l.random(gateways)] }
	one := func(context.Context) []*process { return []*process{anyone().process} }
	all := func(context.Context) (all []*process) {
		for _, g := range l.gateways {
			all = append(all, g.process)
		}
		return all
	}
	return []fault{
		{name: "kill -9 of a gateway", run: func(ctx context.Context) error { return l.down(ctx, nil, anyone()) }},
		{name: "kill -9 of all gateways", run: func(ctx context.Context) error { return l.down(ctx, nil, l.gateways...) }},
		{name: "a gateway restarted", run: func(context.Context) error {
			g := anyone()
			calm := l.verdicts.disturbs(g.name, "restart")
			g.stop(syscall.SIGTERM)
			return l.begin(g, calm)
		}},
		{name: "a gateway without its copy", run: func(ctx context.Context) error {
			g := anyone()
			return l.down(ctx, func() error { return os.RemoveAll(g.folder) }, g)
		}},
		{name: "a gateway paused", run: func(ctx context.Context) error {
			g := anyone()
			calm := l.verdicts.disturbs(g.name, "paused")
			defer calm()
			g.pause()
			defer g.resume()
			return l.hold(ctx, 8*time.Second)
		}},
		{name: "a gateway cut off", run: func(ctx context.Context) error {
			mend := l.engine.cutOff(l.random(gateways))
			defer mend()
			return l.hold(ctx, 8*time.Second)
		}},
		l.spoilt("the disk of a gateway slow", 8*time.Second, l.slowDisks, one),
		l.spoilt("the disks of all gateways slow", 8*time.Second, l.slowDisks, all),
		l.spoilt("the clock of a gateway jumps", 8*time.Second, l.wrongClocks, one),
		l.spoilt("the clocks of all gateways jump", 8*time.Second, l.wrongClocks, all),
		{name: "a gateway restarted with a wrong clock", spoils: true, run: func(ctx context.Context) error {
			g := anyone()
			calm := l.verdicts.disturbs(g.name, "restart")
			g.stop(syscall.SIGTERM)
			var err error
			if l.random(2) == 0 { // without its copy, which knows what time it was
				err = os.RemoveAll(g.folder)
			}
			mend := l.wrongClocks(g.process)
			defer mend()
			return errors.Join(err, l.begin(g, calm), l.hold(ctx, 8*time.Second))
		}},
	}
}

// down kills gateways and starts them again.
func (l *lab) down(ctx context.Context, meanwhile func() error, which ...*gateway) error {
	calm := make([]func(), len(which))
	for i, g := range which {
		calm[i] = l.verdicts.disturbs(g.name, "killed")
		g.kill()
	}
	err := l.hold(ctx, 4*time.Second)
	if meanwhile != nil {
		err = errors.Join(err, meanwhile())
	}
	for i, g := range which {
		err = errors.Join(err, l.begin(g, calm[i]))
	}
	return err
}

// begin starts a gateway. Calm is called when it is ready.
func (l *lab) begin(g *gateway, calm func()) error {
	if err := g.start(); err != nil {
		return err
	}
	l.tasks.Go(func() {
		_ = g.ready(l.ctx) // how soon is judged by its answers
		calm()
	})
	return nil
}

// fullDisk puts the folder of a gateway on a small disk of its own, and returns the fault that fills
// it, or why there is none.
func (l *lab) fullDisk(ctx context.Context) (fault, error) {
	g := l.gateways[gateways-1]
	disk := filepath.Dir(g.folder)
	if err := os.MkdirAll(disk, 0o700); err != nil {
		return fault{}, err
	}
	if out, err := command(ctx, "mount", "-t", "tmpfs", "-o", "size=512m,mode=0700", "tmpfs", disk); err != nil {
		return fault{}, fmt.Errorf("no disk of its own: %s", strings.TrimSpace(out))
	}
	l.unmount = func() {
		if out, err := command(context.WithoutCancel(ctx), "umount", disk); err != nil {
			l.note("umount: %s", strings.TrimSpace(out))
		}
	}
	filler := filepath.Join(disk, "filler")
	return fault{name: "the disk of a gateway full", run: func(ctx context.Context) error {
		err := fill(filler)
		err = errors.Join(err, l.hold(ctx, 8*time.Second))
		return errors.Join(err, os.Remove(filler))
	}}, nil
}

func fill(path string) error {
	file, err := os.Create(path) //nolint:gosec // in a folder of our own
	if err != nil {
		return err
	}
	defer file.Close()
	block := make([]byte, 1<<20)
	for {
		if _, err := file.Write(block); errors.Is(err, syscall.ENOSPC) {
			if len(block) == 1<<12 {
				return nil
			}
			block = block[:1<<12]
		} else if err != nil {
			return err
		}
	}
}

// everything kills all that there is.
func (l *lab) everything(faults []fault) fault {
	var nodes, all fault
	for _, f := range faults {
		switch f.name {
		case "kill -9 of all nodes", "kill -9 of all servers":
			nodes = f
		case "kill -9 of all gateways":
			all = f
		}
	}
	return fault{name: "kill -9 of everything", alone: true, run: both(nodes.run, all.run)}
}

// both does two things at once. Either may be nil.
func both(a, b func(ctx context.Context) error) func(ctx context.Context) error {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	return func(ctx context.Context) error {
		var one error
		var other sync.WaitGroup
		other.Go(func() { one = a(ctx) })
		err := b(ctx)
		other.Wait()
		return errors.Join(one, err)
	}
}

// A times is how long it took until all was well after the faults of a kind.
type times struct{ engine, gateways []time.Duration }

// torment does faults in random order until the time is up, or a promise is broken.
func (l *lab) torment(ctx context.Context, duration time.Duration, full *fault) (map[string]*times, error) {
	ofEngine, ofGateways := l.engine.faults(l), l.gatewayFaults()
	if full != nil {
		ofGateways = append(ofGateways, *full)
	}
	if !l.gateways[0].machine.works() {
		spoils := func(f fault) bool { return f.spoils }
		ofEngine, ofGateways = slices.DeleteFunc(ofEngine, spoils), slices.DeleteFunc(ofGateways, spoils)
	}
	all := slices.Concat(ofEngine, ofGateways)
	all = append(all, l.everything(all))
	took := make(map[string]*times)
	var order []int
	for end := time.Now().Add(duration); time.Now().Before(end) && ctx.Err() == nil && !isClosed(l.verdicts.first); {
		if len(order) == 0 { // each comes once before any comes again
			order = l.rand.Perm(len(all))
		}
		f := all[order[0]]
		order = order[1:]
		if !f.alone && l.random(4) == 0 { // with one of the other kind
			others := ofGateways
			if slices.ContainsFunc(ofGateways, func(g fault) bool { return g.name == f.name }) {
				others = ofEngine
			}
			one, other := f, others[l.random(len(others))]
			f = fault{name: one.name + ", and " + other.name, run: both(one.run, other.run), then: both(one.then, other.then)}
		}
		if err := l.suffer(ctx, f, took); err != nil {
			return took, err
		}
		_ = pause(ctx, time.Second+time.Duration(l.random(int(2*time.Second)))) // the loop sees that it ended
	}
	return took, nil
}

// suffer does a fault, and measures how soon all is well after it.
func (l *lab) suffer(ctx context.Context, f fault, took map[string]*times) error {
	l.disturbed.Add(1)
	defer l.disturbed.Add(-1)
	began, before := time.Now(), l.verdicts.tally()
	if err := f.run(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("%s: %w", f.name, err)
	}
	ended, refused := time.Now(), l.verdicts.tally().refused-before.refused
	own, theirs, err := l.recover(ctx, ended)
	if ctx.Err() != nil {
		return nil
	}
	l.note("%-45s lasted %4.1f s, with %d times 503; 200 again after %4.1f s, the engine itself after %4.1f s", f.name,
		ended.Sub(began).Seconds(), refused, theirs.Seconds(), own.Seconds())
	if err != nil || theirs > recovery {
		l.verdicts.fails("200 again in time", "%s, at %s: %v after it ended; the engine itself %v: %v", f.name, clock(ended), theirs.Round(time.Millisecond), own.Round(time.Millisecond), err)
	}
	if took[f.name] == nil {
		took[f.name] = &times{}
	}
	took[f.name].engine = append(took[f.name].engine, own)
	took[f.name].gateways = append(took[f.name].gateways, theirs)
	if f.then == nil {
		return nil
	}
	if err := f.then(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("after %s: %w", f.name, err)
	}
	return nil
}

// recover waits until the engine takes what is written to it, and every gateway has answered 200 to
// what was sent after a time.
func (l *lab) recover(ctx context.Context, since time.Time) (engine, all time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*recovery)
	defer cancel()
	var own sync.WaitGroup
	var ownErr error
	own.Go(func() {
		ownErr = l.engine.usable(ctx)
		engine = time.Since(since)
	})
	for i := range l.gateways {
		for l.lastOK[i].Load() < since.UnixNano() {
			if err = pause(ctx, 10*time.Millisecond); err != nil {
				err = fmt.Errorf("%s has not answered 200", l.gateways[i].name)
				break
			}
		}
	}
	all = time.Since(since)
	own.Wait()
	return engine, all, errors.Join(err, ownErr)
}

// tell prints how long it took.
func (l *lab) tell(took map[string]*times) {
	_, _ = fmt.Fprintf(l.out, "\n%-75s %5s %22s %22s\n", "fault", "times", "200 again, median/max", "engine, median/max")
	for _, name := range slices.Sorted(maps.Keys(took)) {
		t := took[name]
		_, _ = fmt.Fprintf(l.out, "%-75s %5d %14.1f / %4.1fs %14.1f / %4.1fs\n", name, len(t.gateways),
			median(t.gateways).Seconds(), slices.Max(t.gateways).Seconds(), median(t.engine).Seconds(), slices.Max(t.engine).Seconds())
	}
}

func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}
