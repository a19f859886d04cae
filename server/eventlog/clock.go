package eventlog

import "time"

// Clock is what time it is for a log. It goes by the clock of the machine, but for
// one that cannot be right: see Log.Clock.
type Clock struct {
	// Now is the time that an event is given if it is received now.
	Now time.Time
	// Retention is the time from which ages are counted when something is removed for
	// its age. It is Now, or earlier while it catches up with a jump of the clock.
	Retention time.Time
	// Ahead is by how much the clock of the machine is ahead of Now; negative if it is
	// behind. 0 while Now goes by it.
	Ahead time.Duration
}

// RetentionSpeed is how many times as fast as time Clock.Retention goes while it catches
// up.
const RetentionSpeed = 10

// Until returns how long it takes until ages are counted from a time, if the clock does
// not jump again; 0 if they are already.
func (c Clock) Until(t time.Time) time.Duration {
	return max(0, t.Sub(c.Now), t.Sub(c.Retention)/RetentionSpeed)
}
