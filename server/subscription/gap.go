package subscription

import (
	"slices"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// gapSettles is how long a stream has to stay open after a gap was sent to it, for
// the gap to be taken as told if it settles nothing meanwhile.
const gapSettles = 10 * time.Second

// untoldGap is a gap that it is not certain anybody was told of. There is at most
// one of each reason: it is widened.
type untoldGap struct {
	Gap
	// teller is the worker that it was handed to, 0 for none, and lease the newest
	// lease then.
	teller uint32
	lease  uint64
	// forgetAt is when it is forgotten, by the clock; 0 while it is not sent.
	forgetAt int64
}

// widenGap adds events to what somebody is to be told of.
func (m *machine) widenGap(from, to eventlog.Position, reason webhookgatewayv1.GapReason) {
	m.touch(pairPlace, 0)
	for i := range m.gaps {
		if g := m.gaps[i].Gap; g.Reason == reason {
			m.gaps[i] = untoldGap{Gap: Gap{From: min(g.From, from), To: max(g.To, to), Reason: reason}}
			return
		}
	}
	m.gaps = append(m.gaps, untoldGap{Gap: Gap{From: from, To: to, Reason: reason}})
}

// hasGaps reports whether there are gaps to hand to a worker.
func (m *machine) hasGaps() bool {
	return slices.ContainsFunc(m.gaps, func(g untoldGap) bool { return g.teller == 0 })
}

// takeGaps hands the gaps that nobody is told of to a worker.
func (m *machine) takeGaps(w *worker) []Gap {
	var gaps []Gap
	for i := range m.gaps {
		if g := &m.gaps[i]; g.teller == 0 {
			g.teller, g.lease, g.forgetAt = w.id, m.lease, 0
			gaps = append(gaps, g.Gap)
		}
	}
	return gaps
}

// gapsSent takes note that what was handed to a worker is sent.
func (m *machine) gapsSent(id uint32, now time.Time) {
	for i := range m.gaps {
		if g := &m.gaps[i]; g.teller == id && g.forgetAt == 0 {
			g.forgetAt = m.clock(now.Add(gapSettles))
		}
	}
}

// endTelling has the gaps that were handed to a worker told again.
func (m *machine) endTelling(w *worker) {
	for i := range m.gaps {
		if g := &m.gaps[i]; g.teller == w.id {
			g.teller, g.forgetAt = 0, 0
		}
	}
}

// forgetGaps forgets gaps that somebody was told of.
func (m *machine) forgetGaps(told func(*untoldGap) bool) {
	if len(m.gaps) == 0 {
		return
	}
	n := len(m.gaps)
	m.gaps = slices.DeleteFunc(m.gaps, func(g untoldGap) bool { return told(&g) })
	if len(m.gaps) != n {
		m.touch(pairPlace, 0)
	}
}

// damaged takes note that the log cannot be read after a position up to another.
func (m *machine) damaged(after, upTo eventlog.Position) {
	if upTo > m.read {
		m.widenGap(max(after, m.read), upTo, webhookgatewayv1.GapReason_GAP_REASON_DAMAGED)
		m.offer(nil, upTo)
	}
}
