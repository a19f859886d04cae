package main

import (
	"context"
	"errors"
	"syscall"
	"time"
)

// faults are what happens to the PostgreSQL servers.
func (e *postgresEngine) faults(l *lab) []fault {
	// outage is a time in which nothing can be acknowledged.
	outage := func(ctx context.Context, begin func(), end func() error) error {
		begin()
		ends := l.verdicts.begins()
		err := l.hold(ctx, 8*time.Second)
		ends()
		return errors.Join(end(), err)
	}
	start := func(which ...*pgServer) error {
		var err error
		for _, s := range which {
			err = errors.Join(err, s.start())
		}
		return err
	}
	killed := func(which func() []*pgServer) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			them := which()
			return outage(ctx, func() {
				for _, s := range them {
					s.kill()
				}
			}, func() error { return start(them...) })
		}
	}
	return []fault{
		{name: "kill -9 of the primary", run: killed(func() []*pgServer { return []*pgServer{e.primary()} })},
		{name: "kill -9 of both standbys", run: killed(e.standbys)},
		{name: "kill -9 of all servers", run: killed(func() []*pgServer { return e.servers })},
		{name: "the primary restarted", run: func(ctx context.Context) error {
			return outage(ctx, func() { e.primary().stop(syscall.SIGINT) }, e.primary().start)
		}},
		{name: "the primary paused", run: func(ctx context.Context) error {
			return outage(ctx, e.primary().pause, func() error { e.primary().resume(); return nil })
		}},
		{name: "kill -9 of a standby", run: func(ctx context.Context) error {
			s := e.anyStandby(l)
			s.kill()
			err := l.hold(ctx, 8*time.Second)
			return errors.Join(s.start(), err)
		}},
		{name: "a standby paused", run: func(ctx context.Context) error {
			s := e.anyStandby(l)
			s.pause()
			defer s.resume()
			return l.hold(ctx, 8*time.Second)
		}},
		e.promoted(l, "kill -9 of the primary, a standby promoted", (*pgServer).kill),
		e.promoted(l, "the primary paused, a standby promoted", (*pgServer).pause),
		{name: "all connections broken off", run: func(context.Context) error {
			for _, ways := range e.ways {
				for _, p := range ways {
					p.reset()
				}
			}
			return nil
		}},
	}
}

func (e *postgresEngine) anyStandby(l *lab) *pgServer { return e.standbys()[l.random(servers-1)] }

// promoted is the fault that the primary fails for good. A paused one is fenced: it answers nobody, and
// never runs again before it is a standby.
func (e *postgresEngine) promoted(l *lab, name string, fails func(*pgServer)) fault {
	var former *pgServer
	return fault{
		name: name,
		run: func(ctx context.Context) error {
			former = e.primary()
			fails(former)
			ends := l.verdicts.begins()
			err := l.hold(ctx, 4*time.Second)
			ends()
			if err != nil {
				return err // the lab ends
			}
			return e.promote(ctx)
		},
		then: func(ctx context.Context) error {
			former.kill()
			return e.rejoin(ctx, l, former)
		},
	}
}
