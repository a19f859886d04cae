package pebblelog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A commit log is trimmed as its events are. What else the trimmed commits have said, event
// ids that are remembered and the state of subscriptions, has to be said again before.
//
// That is done in passes. A pass goes through all keys but those of events, a range at a
// time. A commit deletes the range and sets the keys that are in it at that moment, which
// changes nothing for who has them. Who begins to read after the commit log was trimmed has
// them all at the end of the next whole pass, whatever was trimmed before it: until then
// its copy is not whole. Ranges may be of very different times: what comes in between is
// in commits of its own.
//
// Any gateway takes any step. The commits say how far the pass is.
//
// The commit log may lose its end, and with it the pass, or that events were trimmed. If it
// had been trimmed for that, what was trimmed would be nowhere any more, and no copy would be
// whole again. So it is trimmed only for what commits say that are old: see pace.certainAfter.

const (
	metaRestating = "restating" // the pass under way: see pass
	metaRestated  = "restated"  // the last whole pass; what is next is the mark of its head
)

// restatedRanges are the keys that passes go through.
var restatedRanges = [][2][]byte{
	{{prefixDedup}, {prefixDedup + 1}},
	{{prefixHistory}, {prefixHistory + 1}},
	{{prefixLost}, {prefixMeta + 1}},
	{{prefixState}, {prefixState + 1}},
}

// A pass that is under way has begun after a sequence, and goes on at a key. It has had so
// many bytes.
type pass struct {
	began commitlog.Sequence
	bytes uint64
	next  []byte
}

func (p pass) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(p.began))
	return append(binary.BigEndian.AppendUint64(b, p.bytes), p.next...)
}

func decodePass(b []byte) (pass, error) {
	if len(b) < 16 {
		return pass{}, errors.New("how far the state is restated cannot be read")
	}
	return pass{
		began: commitlog.Sequence(binary.BigEndian.Uint64(b)), bytes: binary.BigEndian.Uint64(b[8:]), next: bytes.Clone(b[16:]),
	}, nil
}

// decodeRestated decodes a whole pass, and the head when it ended.
func decodeRestated(b []byte) (pass, mark, error) {
	p, err := decodePass(b)
	if err != nil {
		return pass{}, mark{}, err
	}
	head, err := decodeMark(p.next)
	return p, head, err
}

// becomeWhole adds to a batch what a copy lacks that becomes whole. If it has no event, all
// events up to the head were in the commit log before it begins, and so they are trimmed,
// though the commit that says so may still come.
func (c *committer) becomeWhole(batch *pebble.Batch) error {
	if c.head.position >= c.restatedHead.position {
		return nil
	}
	c.head = c.restatedHead
	return batch.Set(metaKey(metaTrimmed), c.head.encode(), nil)
}

// restating returns the pass that is under way, if one is.
func (s *store) restating() (pass, bool, error) {
	value, err := s.meta(metaRestating)
	if errors.Is(err, pebble.ErrNotFound) {
		return pass{}, false, nil
	}
	if err != nil {
		return pass{}, false, err
	}
	p, err := decodePass(value)
	return p, err == nil, err
}

// restated returns the sequence before the last whole pass, and the bytes that it had.
func (s *store) restated() (pass, error) {
	value, err := s.meta(metaRestated)
	if errors.Is(err, pebble.ErrNotFound) {
		return pass{}, nil
	}
	if err != nil {
		return pass{}, err
	}
	p, _, err := decodeRestated(value)
	return p, err
}

// learnRestated is called for a commit that ends a pass.
func (c *committer) learnRestated(value []byte) error {
	p, head, err := decodeRestated(value)
	if err != nil {
		return err
	}
	c.restatedHead = head
	s := c.log.shared
	s.place.sinceRestated = 0
	if p.began >= s.place.from {
		s.place.whole = true
	}
	return nil
}

// keepRestating keeps the commit log short, until the log is closed.
func (l *Log) keepRestating() {
	s := l.shared
	pause := s.pace.interval
	for {
		select {
		case <-l.closing:
			return
		case <-time.After(pause):
		}
		pause = s.pace.interval
		if !s.isCurrent() {
			continue
		}
		more, err := l.shorten()
		if err != nil && l.Err() == nil {
			l.logger.Warn("the commit log was not shortened", "error", err)
		}
		if more && err == nil {
			pause = s.pace.stepInterval
		}
		l.tryRefusal()
	}
}

// tryRefusal finds out whether a commit log that has refused a commit still does. Only a
// commit tells, and whoever sends deliveries to those alone that take them sends none.
func (l *Log) tryRefusal() {
	if l.shared.commits.Err() == nil {
		return
	}
	ctx, cancel := context.WithTimeout(l.shared.life, l.shared.pace.settlePatience)
	defer cancel()
	_ = l.Sync(ctx) // Err says why it fails
}

// restate adds the next step of a pass to a batch, and begins one if none is under way and
// none was expected to be.
func (c *committer) restate(batch *pebble.Batch, expected bool) error {
	s := c.log.shared
	p, under, err := c.store.restating()
	if err != nil || !under && expected {
		return err // another gateway has ended it
	}
	if !under {
		p = pass{began: s.place.applied, next: restatedRanges[0][0]}
	}
	for _, span := range restatedRanges {
		if bytes.Compare(p.next, span[1]) >= 0 {
			continue
		}
		from := p.next
		if bytes.Compare(from, span[0]) < 0 {
			from = span[0]
		}
		n, next, err := c.store.restateSpan(batch, from, span[1], s.pace.chunkBytes)
		if err != nil {
			return err
		}
		p.bytes, p.next = p.bytes+uint64(n), next //nolint:gosec // not negative
		return batch.Set(metaKey(metaRestating), p.encode(), nil)
	}
	return errors.Join(
		batch.Delete(metaKey(metaRestating), nil),
		batch.Set(metaKey(metaRestated), pass{began: p.began, bytes: p.bytes, next: c.head.encode()}.encode(), nil),
	)
}

// restateSpan restates keys from one on up to, not including, another, as many as fit. It
// returns how many bytes that are, and the key to go on at.
func (s *store) restateSpan(batch *pebble.Batch, from, to []byte, limit int) (n int, next []byte, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
	next = to
	type pair struct{ key, value []byte }
	var pairs []pair
	for ok := it.First(); ok; ok = it.Next() {
		if n >= limit {
			next = bytes.Clone(it.Key())
			break
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return 0, nil, err
		}
		pairs = append(pairs, pair{bytes.Clone(it.Key()), bytes.Clone(value)})
		n += len(it.Key()) + len(value)
	}
	if err := it.Error(); err != nil {
		return 0, nil, err
	}
	if err := batch.DeleteRange(from, next, nil); err != nil {
		return 0, nil, err
	}
	for _, p := range pairs {
		if err := batch.Set(p.key, p.value, nil); err != nil {
			return 0, nil, err
		}
	}
	return n, next, nil
}

func sequenceKey(s commitlog.Sequence) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixCopy, kindSequence}, uint64(s))
}

// forgetSequences removes the positions of the commits before one from the list.
func (l *Log) forgetSequences(before commitlog.Sequence) error {
	l.storeMu.RLock()
	defer l.storeMu.RUnlock()
	if l.store == nil {
		return eventlog.ErrClosed
	}
	return errors.Join(l.store.db.DeleteRange(sequenceKey(0), sequenceKey(before), pebble.NoSync), l.store.fence.err())
}

// lastSequenceUpTo returns a sequence of which, and of all before it, the events are
// trimmed: the last such one that is listed, 0 if none is.
func (s *store) lastSequenceUpTo(trimmed eventlog.Position) (last commitlog.Sequence, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: sequenceKey(0), UpperBound: []byte{prefixCopy, kindSequence + 1}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil || len(it.Key()) != 10 || len(value) != 8 {
			return 0, errors.Join(errors.New("the list of commits cannot be read"), err)
		}
		if eventlog.Position(binary.BigEndian.Uint64(value)) > trimmed {
			break
		}
		last = commitlog.Sequence(binary.BigEndian.Uint64(it.Key()[2:]))
	}
	return last, nil
}
