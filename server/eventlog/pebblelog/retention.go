package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	// NOTE: The mark is durable before it is shown, and shown before events go. So a
	// reader who misses an event finds out why, and a crash brings nothing back that
	// was said to be trimmed.
	err = l.write(ctx, kindUpkeep, func(c *committer, batch *pebble.Batch) error {
		if m.position <= c.trimmed.position {
			return nil
		}
		for _, lost := range c.store.lost {
			if lost.upTo.position <= m.position {
				if err := batch.Delete(lossKey(lost.after), nil); err != nil {
					return err
				}
			}
		}
		c.trimmed = m
		return batch.Set(metaKey(metaTrimmed), m.encode(), nil)
	})
	if err == nil {
		l.published.trim(m)
		l.window.Trim(m.position)
		err = l.removeTrimmed(ctx, func(*committer, *pebble.Batch) error { return nil })
	}
	if err != nil {
		return fmt.Errorf("trim the event log up to %d: %w", upTo, err)
	}
	return nil
}

// removeTrimmed removes the events that are trimmed, those too that a crash or a
// failure has left, with whatever else there is to remove.
func (l *Log) removeTrimmed(ctx context.Context, more func(*committer, *pebble.Batch) error) error {
	return l.write(ctx, kindUpkeep, func(c *committer, batch *pebble.Batch) error {
		_, trimmed := l.published.get()
		if c.trimmed.position < trimmed.position {
			trimmed = c.trimmed // the commit log has lost that more was trimmed
		}
		if trimmed.position > c.deleted {
			lower, upper := eventKeysAfter(c.deleted, trimmed.position)
			if err := batch.DeleteRange(lower, upper, nil); err != nil {
				return err
			}
			c.deleted = trimmed.position
			l.freed.Add(max(trimmed.totals.Bytes-c.freed, 1))
			c.freed = trimmed.totals.Bytes
		}
		return more(c, batch)
	})
}

// write makes writes durable, in one group with the events that wait at that time.
// add runs in the committer.
func (l *Log) write(ctx context.Context, k kind, add func(*committer, *pebble.Batch) error) error {
	r := l.queue.request()
	r.kind, r.write = k, add
	_, err := l.queue.do(ctx, r)
	return err
}

// retain enforces the retention, now and then.
func (l *Log) retain() {
	ctx := context.Background() // Close ends what it waits for
	if l.shared != nil {
		// NOTE: Before it has read of the newest event the clock of this machine is believed,
		// whatever it says.
		select {
		case <-l.Current():
		case <-l.closing:
			return
		}
	}
	ticker := time.NewTicker(l.config.Retention.Interval)
	defer ticker.Stop()
	first := sync.OnceFunc(func() { close(l.retained) })
	for {
		if err := l.enforceRetention(ctx); err != nil && l.queue.accepts(kindUpkeep) {
			l.logger.Warn("the retention of the event log was not enforced", "error", err)
		}
		first()
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
	err = l.removeTrimmed(ctx, func(c *committer, batch *pebble.Batch) error {
		now := l.clock.get()
		if c.head.position > 0 {
			if err := batch.Set(metaKey(metaClock), clockValue(now), nil); err != nil {
				return err
			}
		}
		return c.dedup.expire(batch, now.Retention)
	})
	if err != nil {
		return err
	}
	return errors.Join(l.forgetRestored(), l.reclaim())
}

// expired returns the position up to which the retention has events removed.
func (l *Log) expired(ctx context.Context) (eventlog.Position, error) {
	retention := l.config.Retention
	head, trimmed := l.published.get()
	upTo := trimmed.position
	if retention.MaxAge > 0 {
		old, err := l.Seek(ctx, l.clock.get().Retention.Add(-retention.MaxAge))
		if err != nil {
			return 0, err
		}
		upTo = max(upTo, old)
	}
	// NOTE: What failed verification has a quota of its own, and does not count: it
	// must not push out what did not.
	if kept := head.totals.Minus(trimmed.totals).OthersBytes(); retention.MaxBytes > 0 && kept > retention.MaxBytes {
		excess := head.totals.OthersBytes() - retention.MaxBytes
		last, err := l.search(ctx, func(m mark) bool { return m.totals.OthersBytes() >= excess })
		if err != nil {
			return 0, fmt.Errorf("find the events beyond the size limit: %w", err)
		}
		upTo = max(upTo, min(last, head.position-1))
	}
	return upTo, nil
}
