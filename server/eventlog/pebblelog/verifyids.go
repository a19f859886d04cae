package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// eventIDs compares what is remembered of event ids with the events.
func (v *verifier) eventIDs(ctx context.Context) error {
	var oldest int64
	err := v.pairs(ctx, prefixDedup, func(key, value []byte) {
		start, id, p, err := parseDedupPair(key, value)
		if err != nil {
			v.report.add(fmt.Sprintf("event id %x", key), "it is malformed")
			return
		}
		if len(value) == firstBodyLen {
			v.report.EventIDs++
		}
		if oldest == 0 {
			oldest = start
		}
		if p > v.store.head.position {
			v.report.add(fmt.Sprintf("event id %x", key), "it is that of event %d, and the newest is %d", p, v.store.head.position)
		}
		if p <= v.report.Trimmed || p > v.report.Trimmed+eventlog.Position(len(v.ids)) {
			return
		}
		switch of := &v.ids[p-v.report.Trimmed-1]; *of {
		case max(maphash.Bytes(v.seed, id), 1):
			*of = 0
		case 0: // damaged, or remembered in an older bucket too
		default:
			v.report.add(fmt.Sprintf("event id %x", key), "event %d has another", p)
		}
	})
	if err != nil {
		return err
	}
	d, err := openDedup(v.store, minDedupWindow)
	if err != nil {
		return err
	}
	defer d.closeIter()
	for i, id := range v.ids {
		if id == 0 || v.received[i] < oldest || oldest == 0 {
			continue
		}
		// NOTE: An event that was lost and is back may have been stored again meanwhile, and
		// is then remembered by that.
		p := v.report.Trimmed + 1 + eventlog.Position(i)
		if remembered, err := v.remembered(d, p); err != nil {
			v.report.add(fmt.Sprintf("event %d", p), "what is remembered of its event id cannot be read: %v", err)
		} else if !remembered {
			v.report.add(fmt.Sprintf("event %d", p), "its event id is not remembered: a retry of it would be stored again")
		}
	}
	return nil
}

// remembered reports whether a retry of an event is known for one.
func (v *verifier) remembered(d *dedup, p eventlog.Position) (bool, error) {
	var entry eventlog.Entry
	var failure error
	err := v.store.view(p, func(record eventlog.Record) {
		entry, failure = record.Entry(v.history)
	})
	if err := errors.Join(err, failure); err != nil {
		return false, err
	}
	receipt, err := d.find(&entry, 0, time.Unix(0, 0))
	return receipt.Duplicate, err
}
