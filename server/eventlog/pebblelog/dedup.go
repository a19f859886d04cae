package pebblelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// dedup remembers the event ids of stored events.
//
// Entries are kept in buckets by time, so that forgetting is one range deletion
// and needs no index. A bucket takes entries for one window; the first entry after
// that starts the next bucket. A bucket is deleted one window after the next one
// was started. So an entry is kept for one to two windows, and a look-up reads two
// buckets, nearly always through Bloom filters only. The newest entry of an id is
// complete: it repeats what older buckets have.
//
// Only the committer uses it: an id is looked up and remembered in one step,
// which is what makes it exact.
type dedup struct {
	window time.Duration
	db     *pebble.DB
	logger *slog.Logger
	// Start times of the buckets, Unix nanoseconds, ascending.
	buckets []int64
	// Entries of the group being built, by dedupID: the database does not have them
	// yet.
	pending map[string][]byte
	key     []byte
}

// A dedup entry is a list of the bodies that were stored with an id.
const (
	bodyLen   = 16 + 8 // hash, position
	maxBodies = 16
)

func openDedup(s *store, window time.Duration) (*dedup, error) {
	d := &dedup{window: window, db: s.db, logger: s.logger, pending: make(map[string][]byte)}
	err := d.listBuckets()
	if isDamage(err) {
		s.logger.Error("event ids that are remembered cannot all be read: an event may be stored twice", "error", err.Error())
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the buckets of event ids: %w", err)
	}
	return d, nil
}

func (d *dedup) listBuckets() (err error) {
	iter, err := d.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixDedup}, UpperBound: []byte{prefixDedup + 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, iter.Error(), iter.Close()) }()
	for ok := iter.First(); ok; {
		if len(iter.Key()) < 9 {
			return fmt.Errorf("key %x is not that of an event id", iter.Key())
		}
		start := int64(binary.BigEndian.Uint64(iter.Key()[1:])) //nolint:gosec // written from an int64
		d.buckets = append(d.buckets, start)
		ok = iter.SeekGE(bucketPrefix(start + 1))
	}
	return nil
}

// remember looks up the event id of an entry. If it was stored with the same body,
// the receipt is that of a duplicate. Otherwise the batch gets an entry of the id
// at the position, and the receipt reports whether it is a conflict.
func (d *dedup) remember(batch *pebble.Batch, entry *eventlog.Entry, p eventlog.Position, now time.Time) (eventlog.Receipt, error) {
	d.key = appendDedupID(d.key[:0], entry)
	bodies, pending := d.pending[string(d.key)]
	if !pending {
		var err error
		if bodies, err = d.lookup(d.key); err != nil {
			return eventlog.Receipt{}, fmt.Errorf("look up the event id: %w", err)
		}
	}
	for body := bodies; len(body) >= bodyLen; body = body[bodyLen:] {
		if [16]byte(body[:16]) == entry.BodyHash {
			return eventlog.Receipt{Position: eventlog.Position(binary.BigEndian.Uint64(body[16:])), Duplicate: true}, nil
		}
	}
	conflict := len(bodies) > 0
	if len(bodies) >= maxBodies*bodyLen {
		bodies = bodies[bodyLen:]
	}
	bodies = binary.BigEndian.AppendUint64(append(bodies[:len(bodies):len(bodies)], entry.BodyHash[:]...), uint64(p))

	key := append(bucketPrefix(d.bucket(now)), d.key...)
	if err := batch.Set(key, bodies, nil); err != nil {
		return eventlog.Receipt{}, fmt.Errorf("remember the event id: %w", err)
	}
	d.pending[string(d.key)] = bodies
	return eventlog.Receipt{Position: p, Conflict: conflict}, nil
}

// applied is called when the batch is visible in the database.
func (d *dedup) applied() { clear(d.pending) }

func (d *dedup) lookup(id []byte) ([]byte, error) {
	var buf [9 + 2 + eventlog.MaxClientIDLen + 1 + maxPlainEventID]byte
	for i := len(d.buckets) - 1; i >= 0; i-- {
		key := append(buf[:0], prefixDedup)
		key = binary.BigEndian.AppendUint64(key, uint64(d.buckets[i])) //nolint:gosec // after 1970
		value, closer, err := d.db.Get(append(key, id...))
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if isDamage(err) {
			// NOTE: What cannot be read is not remembered. To store an event twice is better
			// than never.
			d.logger.Warn("a remembered event id cannot be read: the event is stored, perhaps again", "error", err.Error())
			continue
		}
		if err != nil {
			return nil, err
		}
		bodies := append([]byte(nil), value...)
		return bodies, closer.Close()
	}
	return nil, nil
}

// bucket returns the bucket of an entry made now.
func (d *dedup) bucket(now time.Time) int64 {
	if n := len(d.buckets); n > 0 && now.UnixNano() < d.buckets[n-1]+int64(d.window) {
		return d.buckets[n-1]
	}
	d.buckets = append(d.buckets, now.UnixNano())
	return now.UnixNano()
}

// expire forgets what is older than the window.
func (d *dedup) expire(batch *pebble.Batch, now time.Time) error {
	n := 0
	for n+1 < len(d.buckets) && d.buckets[n+1] <= now.Add(-d.window).UnixNano() {
		n++
	}
	if n == 0 {
		return nil
	}
	if err := batch.DeleteRange(bucketPrefix(d.buckets[0]), bucketPrefix(d.buckets[n]), nil); err != nil {
		return fmt.Errorf("forget event ids: %w", err)
	}
	d.buckets = d.buckets[n:]
	return nil
}
