package stream

import (
	"math"
	"testing"
	"time"
)

// What a stream did shows as a rate for some seconds, and no longer.
func TestMeter(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	at := func(seconds float64) time.Time { return begun.Add(time.Duration(seconds * float64(time.Second))) }
	m := &meter{begun: begun}
	check := func(seconds, wantRate, wantWaited float64, waits time.Time) {
		t.Helper()
		rate, waited := m.read(at(seconds), waits)
		if math.Abs(rate-wantRate) > 1e-9 || math.Abs(waited-wantWaited) > 1e-9 {
			t.Errorf("after %v s: %v events a second, waited %v; want %v, %v", seconds, rate, waited, wantRate, wantWaited)
		}
	}
	check(0, 0, 0, time.Time{})
	m.sent(at(0.1), 30)
	check(0.2, 30, 0, time.Time{}) // less than a second tells no rate
	check(3, 10, 0, time.Time{})
	m.waited(at(3.5), at(5)) // over three seconds
	check(6, 5, 0.25, time.Time{})
	check(9.5, 30/9.5, 1.5/9.5, time.Time{})
	check(10.5, 0, 1.5/9.5, time.Time{}) // the first second is over ten seconds old
	check(14.9, 0, 0, time.Time{})
	m.waited(at(15), at(100)) // of a long wait the end counts
	check(100, 0, 1, time.Time{})
	check(104, 0, (100.-95)/9, time.Time{})
	check(104, 0, 1, at(99)) // and of one that goes on
	check(119.5, 0, 1, at(104))
	check(119.5, 0, 0.5/9.5, at(119))
	m.sent(at(119.5), 95)
	check(119.5, 10, 0, time.Time{})
}
