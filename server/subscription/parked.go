package subscription

import (
	"cmp"
	"slices"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// parked is a parked event.
type parked struct {
	position eventlog.Position
	reason   webhookgatewayv1.ParkReason
	message  string
	attempts uint16
	time     time.Time
}

func (m *machine) findParked(p eventlog.Position) (int, bool) {
	return slices.BinarySearchFunc(m.parked, p, func(e parked, p eventlog.Position) int { return cmp.Compare(e.position, p) })
}

// parkEntry settles an entry and keeps its event with the parked ones.
func (m *machine) parkEntry(s slot, reason webhookgatewayv1.ParkReason, message string, now time.Time) {
	e := m.at(s)
	m.addParked(parked{position: e.position, reason: reason, message: message, attempts: e.attempts, time: now.Round(0)})
	m.touch(changeParked, e.position)
	m.settle(s)
}

func (m *machine) addParked(p parked) {
	i, found := m.findParked(p.position)
	if found {
		m.parked[i] = p
		return
	}
	m.parked = slices.Insert(m.parked, i, p)
}

// discard forgets a parked event, and says whether it was parked.
func (m *machine) discard(p eventlog.Position) bool {
	i, found := m.findParked(p)
	if found {
		m.parked = slices.Delete(m.parked, i, i+1)
		m.touch(changeParked, p)
	}
	return found
}

// replay has a parked event delivered again, with its attempts counted anew, and
// says whether it was parked. After a seek, an event may be parked and still to
// be delivered: it is delivered once then.
func (m *machine) replay(o offer) bool {
	if !m.discard(o.position) {
		return false
	}
	if m.isSettled(o.position) {
		m.addReplay(o)
		m.touch(changeReplay, o.position)
	}
	return true
}

func (m *machine) addReplay(o offer) {
	s := m.newEntry(o)
	m.at(s).replayed = true
	m.replays[o.position] = s
	m.enter(s)
	m.blockAhead(s)
}

// oldestParked returns when the event that is parked for longest was parked.
func (m *machine) oldestParked() (time.Time, bool) {
	if len(m.parked) == 0 {
		return time.Time{}, false
	}
	oldest := slices.MinFunc(m.parked, func(a, b parked) int { return a.time.Compare(b.time) })
	return oldest.time, true
}
