package subscription

import (
	"log/slog"
	"strings"
	"sync"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// parkedLogInterval is the least time between two log lines about the events that a
// subscription parked.
const parkedLogInterval = time.Second

// parkedLog tells the operator that workers gave up on events.
type parkedLog struct {
	mu     sync.Mutex
	last   time.Time
	untold int // parked since the last line
}

// tell logs the events that were parked, if there are any: one line, and not more
// often than parkedLogInterval. What a worker said of one is not logged: it may
// quote the event.
func (l *parkedLog) tell(logger *slog.Logger, name string, changes parkedChanges, now time.Time) {
	var first eventlog.Position
	n := 0
	for p, change := range changes.each {
		if change.action == parkIt {
			if n++; first == 0 || p < first {
				first = p
			}
		}
	}
	if n == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.untold += n
	if now.Sub(l.last) < parkedLogInterval {
		return
	}
	change := changes.each[first]
	logger.Warn("events were parked: `webhook-gateway parked list` shows them",
		"subscription", name, "events", l.untold, "position", uint64(first),
		"reason", parkReasonName(change.reason), "attempts", int(change.attempts))
	l.last, l.untold = now, 0
}

func parkReasonName(reason webhookgatewayv1.ParkReason) string {
	return strings.TrimPrefix(reason.String(), "PARK_REASON_")
}
