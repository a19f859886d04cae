package jetstream

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// A waiting is how long an answer is waited for. What begins anew after a late answer, such as a large commit, would
// never end on a slow machine, or behind a slow link, if the next attempt waited no longer: it waits twice as long.
type waiting struct {
	first, most time.Duration
	longer      atomic.Int64 // in nanoseconds, 0: as long as at first
}

func (w *waiting) now() time.Duration { return max(w.first, time.Duration(w.longer.Load())) }

// failed takes note of why an attempt has failed.
func (w *waiting) failed(err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		w.longer.Store(int64(min(2*w.now(), w.most)))
	}
}

// done takes note of an attempt that got to its end.
func (w *waiting) done() { w.longer.Store(0) }
