package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A scene is what happens at a time of the show.
type scene struct {
	after time.Duration
	do    func() error
}

// show runs the cluster, kills a part of it for a while, and prints a line each second.
func (l *lab) show(ctx context.Context, s settings) error {
	_, _ = fmt.Fprintf(l.out, "Three gateways (g1, g2, g3) share their events by %s. It takes a minute or so; Ctrl-C ends it.\n"+
		"Each line: how many deliveries were stored in a second, how many got 503 and will be sent again, how many events each gateway has\n"+
		"streamed to its reader, and who decides in what order commits come.\n\n", l.engine.name())
	defer l.stop(context.WithoutCancel(ctx))
	if err := l.start(ctx); err != nil {
		return err
	}
	if err := l.work(s.rate); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	acts := l.engine.acts(l)
	g := l.gateways[1]
	var calm func()
	err := l.play(ctx, []scene{
		{8 * time.Second, acts[0]},
		{20 * time.Second, func() error {
			l.note("--- kill -9 of the gateway g2: the load balancer sends to g1 and g3")
			calm = l.verdicts.disturbs(g.name, "killed")
			g.kill()
			return nil
		}},
		{30 * time.Second, func() error {
			l.note("--- g2 is started again, and catches up")
			defer calm()
			return g.restart(ctx)
		}},
		{34 * time.Second, acts[1]},
		{45 * time.Second, nil},
	})
	l.rest(context.WithoutCancel(ctx), recovery)
	l.stop(context.WithoutCancel(ctx))
	if concluded := l.conclude(s); concluded != nil || err != nil {
		return errors.Join(err, concluded)
	}
	_, _ = fmt.Fprint(l.out, "What was answered 200 is in the stream of every gateway, once, in the same order, with the same cursors.\n"+
		"What could not be stored was answered 503, and was sent again, as providers do: that is why nothing is missing.\n")
	return nil
}

// play prints a line each second until the last scene.
func (l *lab) play(ctx context.Context, scenes []scene) error {
	began := time.Now()
	var before tally
	done := make(chan error, 1)
	for len(scenes) > 0 {
		if pause(ctx, time.Second) != nil {
			return nil //nolint:nilerr // it was enough
		}
		before = l.line(ctx, before)
		if time.Since(began) < scenes[0].after {
			continue
		}
		do := scenes[0].do
		scenes = scenes[1:]
		if do == nil {
			break
		}
		go func() { done <- do() }()
		select {
		case err := <-done:
			if err != nil {
				return err
			}
		case <-time.After(time.Second):
			// the line goes on
		}
	}
	return nil
}

// line prints what has changed since the last one, how far each gateway is, and who leads.
func (l *lab) line(ctx context.Context, before tally) tally {
	var heads []string
	for i, g := range l.gateways {
		read := l.verdicts.read(l.readers[i])
		state := strconv.Itoa(read)
		if !g.isReady(ctx) {
			state = "down"
		}
		heads = append(heads, fmt.Sprintf("%s %s", g.name, state))
	}
	now := l.verdicts.tally()
	l.note("%4d stored, %3d times 503  |  events of %s  |  %s leads", now.stored-before.stored, now.refused-before.refused,
		strings.Join(heads, ", "), l.engine.leads(ctx))
	return now
}
