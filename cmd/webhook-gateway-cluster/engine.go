package main

import (
	"context"
	"iter"
	"slices"
	"time"
)

// An engine is what the gateways share their events by.
type engine interface {
	name() string
	// start starts it, and says what it does before it does that.
	start(ctx context.Context, say func(format string, args ...any)) error
	stop()
	// config is store.commit_log of a gateway, as YAML.
	config(gateway int) string
	// usable returns when the engine takes what is written to it, without the gateways.
	usable(ctx context.Context) error
	// leads names who decides at the moment, for people.
	leads(ctx context.Context) string
	// faults are what may happen to it.
	faults(l *lab) []fault
	// acts are what the show does to it: something goes, and comes back.
	acts(l *lab) [2]func() error
	// cutOff cuts a gateway off from it.
	cutOff(gateway int) (mend func())
}

// cutAll cuts ways, and returns what mends them.
func cutAll(ways iter.Seq[*proxy]) (mend func()) {
	all := slices.Collect(ways)
	for _, p := range all {
		p.cut()
	}
	return func() {
		for _, p := range all {
			p.mend()
		}
	}
}

// pause waits, unless the context ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
