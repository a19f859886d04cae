package access

import (
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
	"github.com/webhook-gateway/webhook-gateway/server/redact"
)

// masks finds out how events are masked.
type masks struct {
	limits []*filter.Limits
	// classes has those that each grant masks.
	classes []redact.Classes
	// compiled has the masks that were needed so far.
	compiled map[redact.Classes]*redact.Mask
}

// of returns the mask of an event: of the classes that every grant that allows it masks.
// If no grant does, everything is masked.
func (m *masks) of(record eventlog.Record) *redact.Mask {
	classes := redact.All()
	for i, l := range m.limits {
		if both := classes & m.classes[i]; both != classes && l.Allow(record) {
			classes = both
		}
	}
	mask, ok := m.compiled[classes]
	if !ok {
		mask = redact.For(classes)
		m.compiled[classes] = mask
	}
	return mask
}
