package subscription

import (
	"testing"
	"time"
	"unsafe"
)

// set returns the same moment by a clock of the machine that was set forward.
func set(t *testing.T, moment time.Time, by time.Duration) time.Time {
	t.Helper()
	later := moment
	// NOTE Package time has no way to make such a time. Its first word has the seconds of the
	// clock above 30 bits of nanoseconds, if there is a monotonic reading beside it.
	*(*uint64)(unsafe.Pointer(&later)) += uint64(by/time.Second) << 30
	if later.Sub(moment) != 0 || later.Round(0).Sub(moment.Round(0)) != by {
		t.Fatalf("%v is not %v by a clock that is %v ahead: time.Time has changed", later, moment, by)
	}
	return later
}

// TestDeadlinesWhenTheClockIsSet: a machine often knows what time it is only some time
// after its gateway started. What a worker is told, and what is written for the next
// start, is by the clock as it is then, and lasts as long as it was meant to.
func TestDeadlinesWhenTheClockIsSet(t *testing.T) {
	started := time.Now()
	m := newMachine(defaultSettings(), 0, 1, started)
	m.connect(1, 0)
	m.offer([]offer{{position: 1}}, 1)
	now := set(t, started.Add(time.Minute), 365*day)
	m.expire(now)
	m.want(1, 1)
	w, share := m.next()
	d := m.deliver(w, share, now)[0]
	if deadline, ok := m.sending(d.lease, now); !ok || deadline.Round(0).Sub(now.Round(0)) != m.settings.ackDeadline || deadline.Sub(now) != m.settings.ackDeadline {
		t.Errorf("the worker has until %v, %v", deadline, ok)
	}
	if got := m.retry(d.lease, time.Hour, "", now); got != resultOK {
		t.Fatal(got)
	}
	restarted := newMachine(defaultSettings(), 1, 2, now.Round(0))
	if err := restarted.decodeApart(change{pairApart, 1}, m.encodeApart(m.at(m.apart[1]))); err != nil {
		t.Fatal(err)
	}
	if due, ok := restarted.nextDue(); !ok || due.Sub(now.Round(0)) != time.Hour {
		t.Errorf("after a restart it waits for %v", due.Sub(now.Round(0)))
	}
}
