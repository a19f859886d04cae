package pebblelog

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// dedup remembers the event ids of stored events.
//
// Pairs are kept in buckets by time, so that forgetting is one range deletion and
// needs no index. A bucket takes pairs for one window; the first pair after that
// starts the next bucket. Two windows after its start a bucket counts no more, and
// is deleted at the next check of retention. So a pair is remembered for one to two
// windows, and a look-up reads two buckets at most.
//
// In a bucket an id has a pair with its first body, and each further body a pair of
// its own:
//
//	d <bucket> <id>             hash of the body, position
//	d <bucket> <id> <hash>      position
//
// So an id that is new, which is the common case, costs a look-up in each bucket,
// that a Bloom filter answers, and one pair. Any number of bodies costs the same
// each.
//
// Only the committer uses it: an id is looked up and remembered in one step,
// which is what makes it exact.
type dedup struct {
	window time.Duration
	store  *store
	// Start times of the buckets, Unix nanoseconds, ascending.
	buckets []int64
	// Pairs of the group being built: the database does not have them yet.
	pending map[string]rememberedBody
	// iter reads what was there before the group being built; nil until it is needed.
	iter *pebble.Iterator
	// For reuse. The id is that of the entry being added.
	id, key, value []byte
}

// rememberedBody is the value of a dedup pair. Its hash has no meaning where the key
// has it.
type rememberedBody struct {
	hash     [bodyHashLen]byte
	position eventlog.Position
}

const (
	bodyHashLen    = 16
	bucketLen      = 1 + 8
	firstBodyLen   = bodyHashLen + 8
	furtherBodyLen = 8

	// maxPlainEventID is the longest event id that a key holds as it is. Of a longer
	// one it holds a hash.
	maxPlainEventID = 128

	// Flags of a dedup id.
	hashedEventID = 1 << 0 // it ends with a hash of the event id
	withBodyHash  = 1 << 1 // it is followed by the hash of a body
)

func openDedup(s *store, window time.Duration) (*dedup, error) {
	d := &dedup{window: window, store: s, pending: make(map[string]rememberedBody)}
	err := d.listBuckets()
	if s.isDamage(err) {
		s.logger.Error("event ids that are remembered cannot all be read: an event may be stored twice", "error", err.Error())
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the buckets of event ids: %w", err)
	}
	return d, nil
}

func (d *dedup) listBuckets() (err error) {
	iter, err := d.store.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixDedup}, UpperBound: []byte{prefixDedup + 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, iter.Error(), iter.Close()) }()
	for ok := iter.First(); ok; {
		if len(iter.Key()) < bucketLen {
			return fmt.Errorf("key %x is not that of an event id", iter.Key())
		}
		start := int64(binary.BigEndian.Uint64(iter.Key()[1:])) //nolint:gosec // written from an int64
		d.buckets = append(d.buckets, start)
		ok = iter.SeekGE(bucketPrefix(start + 1))
	}
	return nil
}

// find looks up the event id of an entry. If it was stored with the same body, the
// receipt is that of a duplicate. Otherwise it has the position p, and says whether
// it is a conflict. What is lost is stored again when the provider sends it again.
func (d *dedup) find(entry *eventlog.Entry, p eventlog.Position, now time.Time) (eventlog.Receipt, error) {
	d.id = appendDedupID(d.id[:0], entry)
	receipt := eventlog.Receipt{Position: p}
	for _, bucket := range slices.Backward(d.buckets) {
		if d.isPast(bucket, now) {
			break
		}
		first, known, err := d.get(d.keyOf(bucket))
		if err != nil {
			return receipt, fmt.Errorf("look up the event id: %w", err)
		}
		if !known {
			continue
		}
		found := first.hash == entry.BodyHash
		if !found {
			receipt.Conflict = true
			if first, found, err = d.get(d.keyOfBody(bucket, entry)); err != nil {
				return receipt, fmt.Errorf("look up the body of the event id: %w", err)
			}
		}
		switch {
		case found && d.store.isLost(first.position):
			return receipt, nil
		case found:
			return eventlog.Receipt{Position: first.position, Duplicate: true}, nil
		}
	}
	return receipt, nil
}

// remember adds the event id of an entry to the batch, with its body and position.
// The entry is the one of the last find, which found no duplicate.
func (d *dedup) remember(batch *pebble.Batch, entry *eventlog.Entry, receipt eventlog.Receipt, now time.Time) error {
	bucket, further := d.bucket(now), false
	if receipt.Conflict {
		var err error
		if _, further, err = d.get(d.keyOf(bucket)); err != nil {
			return fmt.Errorf("look up the event id: %w", err)
		}
	}
	key, value := d.keyOf(bucket), d.value[:0]
	if further {
		key = d.keyOfBody(bucket, entry)
	} else {
		value = append(value, entry.BodyHash[:]...)
	}
	d.value = binary.BigEndian.AppendUint64(value, uint64(receipt.Position))
	if err := batch.Set(key, d.value, nil); err != nil {
		return fmt.Errorf("remember the event id: %w", err)
	}
	d.pending[string(key)] = rememberedBody{hash: entry.BodyHash, position: receipt.Position}
	return nil
}

// applied is called when the batch is visible in the database.
func (d *dedup) applied() {
	clear(d.pending)
	d.closeIter()
}

func (d *dedup) closeIter() {
	if d.iter != nil {
		_ = d.iter.Close() // get has returned its errors
		d.iter = nil
	}
}

// get returns the value of a dedup key, and whether there is one.
func (d *dedup) get(key []byte) (rememberedBody, bool, error) {
	if body, ok := d.pending[string(key)]; ok {
		return body, true, nil
	}
	body, known, err := d.read(key)
	if d.store.isDamage(err) {
		// NOTE: What cannot be read is not remembered. To store an event twice is better
		// than never.
		d.store.logger.Warn("a remembered event id cannot be read: the event is stored, perhaps again", "error", err.Error())
		d.closeIter()
		return rememberedBody{}, false, nil
	}
	return body, known, err
}

// read reads what the database has for a dedup key.
func (d *dedup) read(key []byte) (rememberedBody, bool, error) {
	if d.iter == nil {
		// NOTE: DB.Get does not use the Bloom filters of the lowest level, which holds
		// nearly all of the pairs: it would read a block of the disk for each new id.
		var err error
		d.iter, err = d.store.db.NewIter(&pebble.IterOptions{
			LowerBound: []byte{prefixDedup}, UpperBound: []byte{prefixDedup + 1}, UseL6Filters: true,
		})
		if err != nil {
			return rememberedBody{}, false, err
		}
	}
	if !d.iter.SeekPrefixGE(key) {
		return rememberedBody{}, false, d.iter.Error()
	}
	value, err := d.iter.ValueAndErr()
	if err != nil {
		return rememberedBody{}, false, err
	}
	var body rememberedBody
	switch len(value) {
	case firstBodyLen:
		value = value[copy(body.hash[:], value):]
	case furtherBodyLen:
	default:
		return rememberedBody{}, false, fmt.Errorf("the value of key %x is malformed", key)
	}
	body.position = eventlog.Position(binary.BigEndian.Uint64(value))
	return body, true, nil
}

// keyOf returns the key of the first body of the entry's id. It is valid until the
// next key is made.
func (d *dedup) keyOf(bucket int64) []byte {
	d.key = append(appendBucketPrefix(d.key[:0], bucket), d.id...)
	return d.key
}

// keyOfBody returns the key of a further body of the entry's id. It is valid until
// the next key is made.
func (d *dedup) keyOfBody(bucket int64, entry *eventlog.Entry) []byte {
	key := append(d.keyOf(bucket), entry.BodyHash[:]...)
	key[bucketLen] |= withBodyHash
	d.key = key
	return key
}

// isPast reports whether all that a bucket can have was remembered for longer than
// the window.
func (d *dedup) isPast(bucket int64, now time.Time) bool {
	return bucket+2*int64(d.window) <= now.UnixNano()
}

// bucket returns the bucket of a pair made now.
func (d *dedup) bucket(now time.Time) int64 {
	if n := len(d.buckets); n > 0 && now.UnixNano() < d.buckets[n-1]+int64(d.window) {
		return d.buckets[n-1]
	}
	d.buckets = append(d.buckets, now.UnixNano())
	return now.UnixNano()
}

// expire deletes the buckets that are past.
func (d *dedup) expire(batch *pebble.Batch, now time.Time) error {
	n := 0
	for n < len(d.buckets) && d.isPast(d.buckets[n], now) {
		n++
	}
	if n == 0 {
		return nil
	}
	if err := batch.DeleteRange(bucketPrefix(d.buckets[0]), bucketPrefix(d.buckets[n-1]+1), nil); err != nil {
		return fmt.Errorf("forget event ids: %w", err)
	}
	d.buckets = d.buckets[n:]
	return nil
}

// appendDedupID appends what identifies an event among those of all providers,
// clients and verdicts. The flags come first, so that the hash of a body can follow.
func appendDedupID(b []byte, entry *eventlog.Entry) []byte {
	flags := byte(0)
	if len(entry.ProviderEventID) > maxPlainEventID {
		flags = hashedEventID
	}
	b = append(b, flags, byte(entry.Provider), byte(entry.Verdict), byte(len(entry.ClientID))) //nolint:gosec // at most MaxClientIDLen, and enum values are small
	b = append(b, entry.ClientID...)
	if flags&hashedEventID == 0 {
		return append(b, entry.ProviderEventID...)
	}
	sum := sha256.Sum256([]byte(entry.ProviderEventID))
	return append(b, sum[:]...)
}

// parseDedupPair returns the start of the bucket of a pair, and the dedup id and the
// position of the event that it is of.
func parseDedupPair(key, value []byte) (start int64, id []byte, p eventlog.Position, err error) {
	malformed := func() (int64, []byte, eventlog.Position, error) {
		return 0, nil, 0, fmt.Errorf("the pair %x is not that of an event id", key)
	}
	if len(key) <= bucketLen {
		return malformed()
	}
	start = int64(binary.BigEndian.Uint64(key[1:])) //nolint:gosec // written from an int64
	id = slices.Clone(key[bucketLen:])
	want := firstBodyLen
	if id[0]&withBodyHash != 0 {
		want = furtherBodyLen
		id[0] &^= withBodyHash
		id = id[:max(len(id)-bodyHashLen, 0)]
	}
	if len(id) == 0 || len(value) != want {
		return malformed()
	}
	return start, id, eventlog.Position(binary.BigEndian.Uint64(value[want-8:])), nil
}

// bucketPrefix returns what the dedup keys of a bucket begin with.
func bucketPrefix(start int64) []byte { return appendBucketPrefix(nil, start) }

func appendBucketPrefix(b []byte, start int64) []byte {
	return binary.BigEndian.AppendUint64(append(b, prefixDedup), uint64(start)) //nolint:gosec // after 1970
}
