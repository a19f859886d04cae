package pebblelog

import "time"

// A pace is how often things are done that keep a commit log short.
type pace struct {
	// listEach is how many commits come between two whose position is listed.
	listEach int
	// A pass begins when minBytes of commits came since the one before it, and growth
	// times what that one had.
	minBytes uint64
	growth   uint64
	// chunkBytes is how much a commit of a pass restates, about.
	chunkBytes int
	// interval is between two checks, stepInterval between two steps of a pass.
	interval, stepInterval time.Duration

	// How long it is tried to append a commit until it is looked whether the commit log
	// still has the one before, and how long a commit log may seem to lack what it had. What
	// only reads it may be stale: it is not certain before.
	settlePatience, absencePatience time.Duration

	// certainAfter is how old commits are that a commit log does not lose any more with its end.
	certainAfter time.Duration
	// shortenPatience is how long what shortens a commit log waits for a commit: longer than deliveries do, or
	// one that is slow would grow for ever.
	shortenPatience time.Duration
	// beginPatience is how long Open waits for a commit log that a copy is to be begun of.
	beginPatience time.Duration
}

var defaultPace = pace{
	listEach: 64, minBytes: 64 << 20, growth: 4, chunkBytes: 256 << 10,
	interval: 10 * time.Second, stepInterval: 20 * time.Millisecond,
	settlePatience: 5 * time.Second, absencePatience: 30 * time.Second,
	certainAfter:    5 * time.Minute, // NATS syncs every two by default
	shortenPatience: 30 * time.Second, beginPatience: 5 * time.Second,
}
