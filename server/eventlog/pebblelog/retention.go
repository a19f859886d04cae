package pebblelog

import (
	"context"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// Trim implements eventlog.Log.
func (l *Log) Trim(ctx context.Context, upTo eventlog.Position) error {
	if l.isClosed() {
		return eventlog.ErrClosed
	}
	bounds := l.Bounds()
	upTo = min(upTo, bounds.Head)
	if upTo <= bounds.Trimmed {
		return nil
	}
	m, err := l.markAt(ctx, upTo)
	if err != nil {
		if l.Bounds().Trimmed >= upTo {
			return nil
		}
		return fmt.Errorf("trim the event log up to %d: %w", upTo, err)
	}
	err = l.write(ctx, func(c *committer, batch *pebble.Batch) error {
		if m.position <= c.deleted {
			return nil
		}
		if err := batch.Set(metaKey(metaTrimmed), m.encode(), nil); err != nil {
			return err
		}
		for _, lost := range c.store.lost {
			if lost.upTo.position <= m.position {
				if err := batch.Delete(lossKey(lost.after), nil); err != nil {
					return err
				}
			}
		}
		lower, upper := eventKeysAfter(c.deleted, m.position)
		if err := batch.DeleteRange(lower, upper, nil); err != nil {
			return err
		}
		c.deleted = m.position
		// NOTE: Published before it is applied, so that a reader who misses an event
		// finds out why.
		l.published.trim(m)
		l.window.Trim(m.position)
		return nil
	})
	if err != nil {
		return fmt.Errorf("trim the event log up to %d: %w", upTo, err)
	}
	return nil
}

// write makes writes durable, in one group with the events that wait at that time.
// add runs in the committer.
func (l *Log) write(ctx context.Context, add func(*committer, *pebble.Batch) error) error {
	r := l.queue.request()
	r.write = add
	_, err := l.queue.do(ctx, r)
	return err
}

// retain enforces the retention, now and then.
func (l *Log) retain() {
	ctx := context.Background() // Close ends what it waits for
	ticker := time.NewTicker(l.config.Retention.Interval)
	defer ticker.Stop()
	for {
		if err := l.enforceRetention(ctx); err != nil && l.Err() == nil {
			l.logger.Warn("the retention of the event log was not enforced", "error", err)
		}
		select {
		case <-ticker.C:
		case <-l.closing:
			return
		}
	}
}

func (l *Log) enforceRetention(ctx context.Context) error {
	upTo, err := l.expired(ctx)
	if err != nil {
		return err
	}
	if err := l.Trim(ctx, upTo); err != nil {
		return err
	}
	return l.write(ctx, func(c *committer, batch *pebble.Batch) error { return c.dedup.expire(batch, l.now()) })
}

// expired returns the position up to which the retention has events removed.
func (l *Log) expired(ctx context.Context) (eventlog.Position, error) {
	retention := l.config.Retention
	head, trimmed := l.published.get()
	upTo := trimmed.position
	if retention.MaxAge > 0 {
		old, err := l.Seek(ctx, l.now().Add(-retention.MaxAge))
		if err != nil {
			return 0, err
		}
		upTo = max(upTo, old)
	}
	if retention.MaxBytes > 0 && head.totalBytes-trimmed.totalBytes > retention.MaxBytes {
		excess := head.totalBytes - retention.MaxBytes
		last, err := l.search(ctx, func(m mark) bool { return m.totalBytes >= excess })
		if err != nil {
			return 0, fmt.Errorf("find the events beyond the size limit: %w", err)
		}
		upTo = max(upTo, min(last, head.position-1))
	}
	return upTo, nil
}
