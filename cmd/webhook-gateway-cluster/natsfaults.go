package main

import (
	"context"
	"time"
)

// faults are what happens to the NATS servers.
func (e *natsEngine) faults(l *lab) []fault {
	anyone := func(context.Context) []*process { return e.nodes[l.random(nodes):][:1] }
	leader := func(ctx context.Context) []*process { return e.nodes[e.leaderOrAny(ctx, l):][:1] }
	all := func(context.Context) []*process { return e.nodes }
	return []fault{
		{name: "kill -9 of a node", run: func(ctx context.Context) error { return e.killed(ctx, l, false, l.random(nodes)) }},
		{name: "kill -9 of the leader", run: func(ctx context.Context) error { return e.killed(ctx, l, false, e.leaderOrAny(ctx, l)) }},
		{name: "kill -9 of the leader, three times", run: func(ctx context.Context) error { return e.leaders(ctx, l) }},
		{name: "kill -9 of two nodes", run: func(ctx context.Context) error {
			spared := l.random(nodes)
			return e.killed(ctx, l, true, (spared+1)%nodes, (spared+2)%nodes)
		}},
		{name: "kill -9 of all nodes", run: func(ctx context.Context) error { return e.killed(ctx, l, true, 0, 1, 2) }},
		{name: "a paused node", run: func(ctx context.Context) error { return e.paused(ctx, l, false, l.random(nodes)) }},
		{name: "the leader paused", run: func(ctx context.Context) error { return e.paused(ctx, l, false, e.leaderOrAny(ctx, l)) }},
		{name: "two nodes paused", run: func(ctx context.Context) error {
			spared := l.random(nodes)
			return e.paused(ctx, l, true, (spared+1)%nodes, (spared+2)%nodes)
		}},
		{name: "a node cut off from the others", run: func(ctx context.Context) error { return e.isolated(ctx, l, l.random(nodes)) }},
		{name: "the leader cut off from the others", run: func(ctx context.Context) error { return e.isolated(ctx, l, e.leaderOrAny(ctx, l)) }},
		l.spoilt("the disk of a node slow", 12*time.Second, l.slowDisks, anyone),
		l.spoilt("the disk of the leader slow", 12*time.Second, l.slowDisks, leader),
		l.spoilt("the disks of all nodes slow", 12*time.Second, l.slowDisks, all),
		l.spoilt("the clock of the leader jumps", 12*time.Second, l.wrongClocks, leader),
		l.spoilt("the clocks of all nodes jump", 12*time.Second, l.wrongClocks, all),
	}
}

func (e *natsEngine) leaderOrAny(ctx context.Context, l *lab) int {
	if i := e.leader(ctx); i >= 0 {
		return i
	}
	return l.random(nodes)
}

// killed kills nodes and starts them again. Without a quorum nothing may be taken meanwhile.
func (e *natsEngine) killed(ctx context.Context, l *lab, outage bool, which ...int) error {
	for _, i := range which {
		e.nodes[i].kill()
	}
	ends := func() {}
	if outage {
		ends = l.verdicts.begins()
	}
	err := l.hold(ctx, 6*time.Second)
	ends()
	for _, i := range which {
		if err := e.nodes[i].start(); err != nil {
			return err
		}
	}
	return err
}

// leaders kills whoever leads, again and again.
func (e *natsEngine) leaders(ctx context.Context, l *lab) error {
	for range 3 {
		leader := e.leaderOrAny(ctx, l)
		e.nodes[leader].kill()
		err := l.hold(ctx, time.Second)
		if err := e.nodes[leader].start(); err != nil {
			return err
		}
		for deadline := time.Now().Add(10 * time.Second); err == nil && time.Now().Before(deadline); {
			if now := e.leader(ctx); now >= 0 && now != leader {
				break
			}
			err = pause(ctx, 50*time.Millisecond)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *natsEngine) paused(ctx context.Context, l *lab, outage bool, which ...int) error {
	for _, i := range which {
		e.nodes[i].pause()
	}
	ends := func() {}
	if outage {
		ends = l.verdicts.begins()
	}
	err := l.hold(ctx, 12*time.Second)
	ends()
	for _, i := range which {
		e.nodes[i].resume()
	}
	return err
}

// isolated cuts a node off from the others. The gateways reach it still.
func (e *natsEngine) isolated(ctx context.Context, l *lab, node int) error {
	mend := e.isolate(node)
	defer mend()
	return l.hold(ctx, 12*time.Second)
}

// acts kills the leader, and brings it back.
func (e *natsEngine) acts(l *lab) [2]func() error {
	leader := 0
	return [2]func() error{
		func() error {
			leader = e.leaderOrAny(context.Background(), l)
			l.note("--- kill -9 of %s, which leads: nothing is stored until the other two have elected another", e.nodes[leader].name)
			e.nodes[leader].kill()
			return nil
		},
		func() error {
			l.note("--- %s is started again", e.nodes[leader].name)
			return e.nodes[leader].start()
		},
	}
}
