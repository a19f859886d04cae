package pebblelog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	commitlogv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/commitlog/v1"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A log of one machine is moved into a commit log as commits that say all that is in it.
// The fact metaMoving is there from the first of them to the last: gateways wait. Whoever
// moves it again after an interruption goes on behind the last event that is there.

const (
	metaMoving = "moving" // in the commit log, while a log is moved into it: see moving
	metaMoved  = "moved"  // in a folder whose log was moved: where to, and when
	// metaEpochDue is the position of the last event before a new epoch has to begin.
	metaEpochDue = "epoch_due"
)

// moveChunkBytes is how much a commit moves, about.
const moveChunkBytes = 512 << 10

// Moved says what Move has done.
type Moved struct {
	LogID string
	// Events is how many were moved now, Head the last one that the commit log has.
	Events uint64
	Head   eventlog.Position
	// Sealed is set when all is moved: the folder is not used any more.
	Sealed bool
}

// Move moves the log in a folder, or in a backup, into a commit log, with all positions,
// ids, receive times and subscriptions. What an earlier call has moved stays. The log must
// not be open, nor a gateway use the commit log. With ahead, only events are moved, and a
// later call, of the folder itself, has less to do. Otherwise the folder is sealed before
// the last step: no gateway opens it again. target is the name of the commit log, for people.
func Move(ctx context.Context, path string, ahead bool, commits commitlog.Log, target string, logger *slog.Logger, progress Progress) (moved Moved, err error) {
	config := DefaultConfig()
	config.Path, config.moving = path, true
	l := &Log{config: config, logger: logger, disk: machineDisk}
	if err := checkIsLog(path, l.disk); err != nil { // opening would make an empty one
		return Moved{}, err
	}
	if err := l.acquire(); err != nil {
		return Moved{}, err
	}
	defer l.lock.Close()
	known, err := readHeadMark(l.disk, path)
	if err != nil {
		return Moved{}, err
	}
	s, err := openStore(config, eventlog.NewID(), known, l.disk, logger)
	if err != nil {
		return Moved{}, fmt.Errorf("open the event log in %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	m := mover{
		store: s, target: &shared{commits: commits, logID: s.id, gateway: newGatewayID(), logger: logger}, progress: progress,
	}
	if err := m.find(ctx); err != nil {
		return Moved{}, err
	}
	from := m.state.position
	if err := m.moveEvents(ctx); err != nil {
		return Moved{}, err
	}
	moved = Moved{LogID: s.id.String(), Events: uint64(m.state.position - from), Head: m.state.position}
	if ahead {
		return moved, nil
	}
	if err := s.seal(target); err != nil {
		return moved, err
	}
	if err := m.finish(ctx); err != nil {
		return moved, err
	}
	moved.Sealed = true
	return moved, nil
}

// moving is how far a log is moved: up to which event, and the epoch of that.
type moving struct {
	position eventlog.Position
	epoch    eventlog.Epoch
}

func (m moving) encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(m.position)), uint64(m.epoch))
}

type mover struct {
	store    *store
	target   *shared
	state    moving
	under    bool // the commit log says that a log is being moved
	progress Progress
}

// find finds out how far the log is moved.
func (m *mover) find(ctx context.Context) error {
	s := m.target
	id, begun, err := s.begin(ctx)
	switch {
	case err != nil:
		return err
	case id != m.store.id:
		return fmt.Errorf("the commit log has the event log %v already, and this is %v: give a new one", id, m.store.id)
	case begun.from > 0:
		return errMoveInUse
	}
	s.place = begun
	for read := 0; ; {
		n, err := m.read(ctx)
		if err != nil {
			return err
		}
		if read += n; !m.under && read > 1 {
			return errMoveInUse
		}
		if err := m.checkHistory(); err != nil {
			return err
		}
		// NOTE: What was read may be stale. Only an append that succeeds shows that it is all.
		batch := m.store.db.NewBatch()
		err = errors.Join(batch.Set(metaKey(metaMoving), m.state.encode(), nil), m.append(ctx, batch), batch.Close())
		if !errors.Is(err, errMoveOther) {
			m.under = true
			return err
		}
	}
}

// read reads how far the log is moved from the commits that come next, and returns how many
// those are.
func (m *mover) read(ctx context.Context) (n int, err error) {
	s := m.target
	for next, err := range s.commits.Read(ctx, s.place.applied) {
		if err != nil {
			return 0, fmt.Errorf("read the commit log: %w", err)
		}
		c, err := s.decode(arrivedFrom(next))
		if err != nil {
			return 0, err
		}
		n++
		for _, o := range c.GetOperations() {
			if !isMeta(o.GetKey(), metaMoving) {
				continue
			}
			if m.under = len(o.GetValue()) == 16; m.under {
				m.state.position = eventlog.Position(binary.BigEndian.Uint64(o.GetValue()))
				m.state.epoch = eventlog.Epoch(binary.BigEndian.Uint64(o.GetValue()[8:]))
			}
		}
		s.place.applied, s.place.hash = next.Sequence, hashOf(next)
	}
	return n, nil
}

var errMoveOther = errors.New("something else writes into the commit log: stop what does, and start again")

var errMoveInUse = errors.New("the commit log is in use already, or was moved into before: give a new one")

// checkHistory makes sure that what was moved before is of the same history.
func (m *mover) checkHistory() error {
	p := m.state.position
	if p <= m.store.trimmed.position {
		m.state.position = m.store.trimmed.position
		return nil
	}
	if p > m.store.head.position {
		return fmt.Errorf("the commit log has events up to %d, and the folder only up to %d: what was moved before was newer", p, m.store.head.position)
	}
	epoch, err := m.store.epoch(p)
	if err != nil && !m.store.isDamage(err) {
		return err
	}
	if err == nil && epoch != m.state.epoch {
		return fmt.Errorf("event %d in the commit log is of another history than in the folder: give a new commit log", p)
	}
	return nil
}

// moveEvents moves the events that are not in the commit log yet.
func (m *mover) moveEvents(ctx context.Context) error {
	s := m.store
	for {
		m.report()
		batch, next, err := m.nextEvents()
		if err != nil {
			return err
		}
		if next == m.state {
			return batch.Close()
		}
		if err := batch.Set(metaKey(metaMoving), next.encode(), nil); err != nil {
			return err
		}
		if err := errors.Join(m.append(ctx, batch), batch.Close()); err != nil {
			return err
		}
		m.state = next
		if next.position >= s.head.position {
			m.report()
			return nil
		}
	}
}

func (m *mover) report() {
	if m.progress != nil {
		trimmed := m.store.trimmed.position
		m.progress(uint64(max(m.state.position, trimmed)-trimmed), uint64(m.store.head.position-trimmed))
	}
}

// nextEvents returns a batch with the events that come next. What is damaged, or missing, is
// left out, and recorded as lost: gateways take what is missing besides for damage of their
// copy.
func (m *mover) nextEvents() (batch *pebble.Batch, next moving, err error) {
	batch, next = m.store.db.NewBatch(), m.state
	it, err := m.store.events(m.state.position, lastPosition)
	if err != nil {
		return batch, next, err
	}
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
	for ok := it.First(); ok && batch.Len() < moveChunkBytes; ok = it.Next() {
		record, err := recordAt(it)
		if errors.Is(err, errValue) {
			continue
		}
		if err != nil {
			return batch, next, fmt.Errorf("event %d cannot be read: run `webhook-gateway log verify`: %w", next.position+1, err)
		}
		before := markOf(record)
		before.position--
		if err := m.store.loseBetween(next.position, before); err != nil {
			return batch, next, err
		}
		if err := batch.Set(it.Key(), it.Value(), nil); err != nil {
			return batch, next, err
		}
		next = moving{record.Position, record.Epoch()}
	}
	if batch.Empty() { // the rest, if there is any, is damaged
		return batch, next, m.store.loseBetween(next.position, m.store.head)
	}
	return batch, next, nil
}

// loseBetween records that there are no events from one position on up to another, as far as
// that is not recorded.
func (s *store) loseBetween(after eventlog.Position, upTo mark) error {
	for _, l := range (loss{after: after, upTo: upTo, found: time.Now()}).without(recorded(s.lost)) {
		key, value := l.pair()
		if err := errors.Join(s.db.Set(key, value, pebble.Sync), s.fence.err()); err != nil {
			return fmt.Errorf("record that events are lost: %w", err)
		}
		s.lost = append(s.lost, l)
	}
	return nil
}

// finish moves all but the events, and lets gateways in.
func (m *mover) finish(ctx context.Context) error {
	lower, upper := eventKeysAfter(0, m.store.trimmed.position)
	first := m.store.db.NewBatch()
	if err := errors.Join(first.DeleteRange(lower, upper, nil), m.append(ctx, first), first.Close()); err != nil {
		return err
	}
	for _, span := range restatedRanges {
		for from := span[0]; string(from) < string(span[1]); {
			batch := m.store.db.NewBatch()
			_, next, err := m.store.restateSpan(batch, from, span[1], moveChunkBytes)
			if err == nil && span[0][0] == prefixLost { // with the facts
				err = errors.Join(
					batch.Delete(metaKey(metaMoved), nil), batch.Delete(metaKey(metaKept), nil),
					batch.Set(metaKey(metaMoving), m.state.encode(), nil),
				)
			}
			if err := errors.Join(err, m.append(ctx, batch), batch.Close()); err != nil {
				return err
			}
			from = next
		}
	}
	last := m.store.db.NewBatch()
	due := binary.BigEndian.AppendUint64(nil, uint64(m.store.head.position))
	return errors.Join(
		m.store.leapTerms(last),
		last.Set(metaKey(metaEpochDue), due, nil),
		last.Delete(metaKey(metaMoving), nil),
		m.append(ctx, last), last.Close(),
	)
}

// append makes a batch the next commit.
func (m *mover) append(ctx context.Context, batch *pebble.Batch) error {
	operations, err := operationsOf(batch)
	if err != nil {
		return err
	}
	s := m.target
	bytes, err := s.encode(&commitlogv1.Commit{Time: timestamppb.Now(), Operations: operations})
	if err != nil {
		return err
	}
	at, err := commitlog.Settle(ctx, s.commits, s.place.applied, bytes)
	switch {
	case err != nil:
		return fmt.Errorf("write into the commit log: %w", err)
	case at == 0:
		return errMoveOther
	}
	commit := commitlog.Commit{Sequence: at, Bytes: bytes}
	s.place.applied, s.place.hash = at, hashOf(commit)
	return nil
}

// seal has no gateway open the folder any more.
func (s *store) seal(target string) error {
	value := fmt.Sprintf("%s, %s", target, time.Now().UTC().Format(time.RFC3339))
	err := errors.Join(s.db.Set(metaKey(metaMoved), []byte(value), pebble.Sync), s.fence.err())
	if err != nil {
		return fmt.Errorf("seal the folder: %w", err)
	}
	return nil
}

// refuseMoved returns an error if the log was moved.
func (s *store) refuseMoved() error {
	value, err := s.meta(metaMoved)
	switch {
	case errors.Is(err, pebble.ErrNotFound), s.isDamage(err):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("the event log in %s was moved (%s), and goes on there: start the gateway with that store.commit_log and an empty folder", s.path, value)
}
