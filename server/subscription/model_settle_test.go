package subscription

import (
	"time"

	"pgregory.net/rapid"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// What the random test does: each method is one action, on the machine and on the
// model. Here are those that settle an event or give it back.

// drawLease returns a lease and, if it is in force, the event that it holds.
func (h *harness) drawLease(t *rapid.T) (lease, int) {
	if len(h.leases) == 0 {
		t.Skip("no lease")
	}
	l := h.leases[len(h.leases)-1-rapid.IntRange(0, min(30, len(h.leases)-1)).Draw(t, "lease")]
	e := &h.events[l.position]
	if e.stream != 0 && e.lease == l && h.now.Before(e.due) {
		return l, int(l.position)
	}
	return l, 0
}

func (h *harness) ack(t *rapid.T) {
	l, p := h.drawLease(t)
	result := h.machine.acknowledge(l, h.now)
	wantResult(t, result, p != 0)
	// NOTE What retention removed is fenced or settled, by how far the cursor is. A seek
	// fences every lease of before.
	known := h.events[l.position].settled && l.number > h.sought
	if p == 0 && l.position > h.trimmed && known != (result == resultSettled) {
		t.Fatalf("result %v for event %d, settled %t", result, l.position, h.events[l.position].settled)
	}
	if p != 0 {
		h.dealtWith(p)
		h.events[p].settle()
	}
}

func (h *harness) retry(t *rapid.T) {
	l, p := h.drawLease(t)
	may := p == 0 || h.settings.exhausted(h.events[p].attempts+1) || h.waiting() < h.settings.maxWaiting
	if got := h.machine.mayRetry([]lease{l}, h.now); got != may {
		t.Fatalf("event %d may be retried: %t, want %t", p, got, may)
	}
	if !may {
		return
	}
	delay := time.Duration(rapid.IntRange(-1, 3).Draw(t, "delay")) * time.Second
	wantResult(t, h.machine.retry(l, delay, "", h.now), p != 0)
	if p != 0 {
		h.dealtWith(p)
		e := &h.events[p]
		e.finish()
		e.limit, e.rounds = 0, 0
		h.revokeAfter(p)
		h.failed(p, delay)
	}
}

func (h *harness) release(t *rapid.T) {
	l, p := h.drawLease(t)
	wantResult(t, h.machine.release(l, h.now), p != 0)
	if p != 0 {
		h.events[p].finish()
		h.revokeAfter(p)
		h.giveBack(p, 0, false)
	}
}

func (h *harness) park(t *rapid.T) {
	l, p := h.drawLease(t)
	wantResult(t, h.machine.park(l, "bad", h.now), p != 0)
	if p != 0 {
		h.dealtWith(p)
		h.parkIt(p)
	}
}

func (h *harness) extend(t *rapid.T) {
	l, p := h.drawLease(t)
	by := time.Duration(rapid.IntRange(1, 20).Draw(t, "deadline")) * time.Second
	wantResult(t, h.machine.extend(l, by, h.now), p != 0)
	if p != 0 {
		h.events[p].due = h.now.Add(by)
	}
}

func (h *harness) commitCursor(t *rapid.T) {
	if h.settings.ordering != webhookgatewayv1.Ordering_ORDERING_STRICT {
		t.Skip("not strict")
	}
	l, p := h.drawLease(t)
	upTo := l.position + eventlog.Position(rapid.IntRange(-1, 3).Draw(t, "beyond"))
	result, err := h.machine.commitCursor(upTo, l, h.now)
	if p == 0 {
		if err != nil || result == resultOK {
			t.Fatalf("result %v, %v of a lease that is not in force", result, err)
		}
		return
	}
	refuse := upTo < l.position || upTo > h.machine.seen
	for q := p + 1; q <= int(min(upTo, h.head())); q++ {
		refuse = refuse || h.wanted(q) && h.known(q)
	}
	if refuse != (err != nil) {
		t.Fatalf("commit of %d by the lease of %d: %v, want an error: %t", upTo, p, err, refuse)
	}
	if err == nil {
		for q := p; q >= 1; q-- {
			if h.wanted(q) && h.known(q) {
				h.dealtWith(q)
				h.events[q].settle()
			}
		}
	}
}
