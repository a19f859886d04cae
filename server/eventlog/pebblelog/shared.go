package pebblelog

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	commitlogv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/commitlog/v1"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A log that several gateways share. The commit log has everything, and each gateway a
// copy, which needs no fsync: what it lacks after a crash is in the commit log. A commit
// is a batch. Whoever appends it first after the last one has decided what it says:
// the others apply it as it is, and decide again what they wanted.
//
// Nothing is mended in a copy. One that is damaged, or differs, is made anew of the
// commits: see copy.go.

// WithCommits makes the log one that is shared with all who have the same commit log. Open waits
// for it for some seconds at most, and ends with the context. The caller closes it after the log.
func WithCommits(ctx context.Context, commits commitlog.Log) Option {
	return func(l *Log) {
		life, end := context.WithCancelCause(context.WithoutCancel(ctx))
		l.shared = &shared{
			commits: commits, opening: ctx, life: life, end: end, gateway: newGatewayID(), pace: defaultPace, logger: l.logger,
			wasCurrent: make(chan struct{}),
		}
	}
}

// newGatewayID returns a number that tells the commits of a gateway from those of others.
func newGatewayID() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: see crypto/rand
	return binary.BigEndian.Uint64(b[:])
}

// shared is how far a copy is. All but the atomic fields are the committer's.
type shared struct {
	commits commitlog.Log
	logger  *slog.Logger
	pace    pace
	// opening ends when Open must, life after Close.
	opening context.Context //nolint:containedctx // that of Open
	life    context.Context //nolint:containedctx // that of the log
	end     context.CancelCauseFunc

	logID   eventlog.ID
	gateway uint64
	number  uint64
	place   place
	// checked: the commit log has the commit that the copy is at. absent is since when it
	// does not seem to.
	checked bool
	absent  time.Time
	// proven: all that the copy has was read from the commit log since it was begun, as the
	// commit log is: see void.go.
	proven bool
	// moving is set while a log is being moved into the commit log: see move.go.
	moving bool
	// spoiled is why the copy has to be made anew, until that is begun.
	spoiled *copyError
	// unlisted counts commits since the last one that is listed: see restate.go.
	unlisted int

	// applied, whole and sinceRestated are of the place. current is set while nothing is known to be
	// missing that was there when the copy was opened. The committer alone sets them.
	applied, sinceRestated atomic.Uint64
	whole, current         atomic.Bool
	once                   sync.Once
	wasCurrent             chan struct{} // closed when it was for the first time
	// ended is set if the commit log has lost its end, or has another one than the copy
	// before this one had, whose head was this. The committer sets it, and ends it when the
	// others know.
	ended atomic.Pointer[ended]
	// full: the last answer to a commit was that the commit log is full, and has nothing after the place.
	full atomic.Bool
	// failing is why no commits can be made.
	failing atomic.Pointer[error]
	// For metrics.
	committed, lostRaces, rebuilt atomic.Int64
	// trimmed is up to where this gateway has trimmed the commit log, and trims up to where it can
	// be. Whoever shortens has the mutex.
	shortening sync.Mutex
	trimmed    commitlog.Sequence
	trims      trimming
}

// A place is how far a copy is in the commit log.
type place struct {
	// applied is the sequence of the last commit that was applied, before that of the one
	// before it, and earlier that of the one before that.
	applied, before, earlier commitlog.Sequence
	// read is the hash of the last commit, and hash that which the next one has to name:
	// another one if the last was void.
	read, hash commitHash
	// The copy was begun after this sequence. Unless it is 0 the copy is whole only when
	// the state has been restated since.
	from  commitlog.Sequence
	whole bool
	// sinceRestated is how many bytes of commits came after the last whole pass.
	sinceRestated uint64
}

// The keys of what is not shared: prefixCopy and
//
//	p              place
//	s <sequence>   position of the head after that commit; of some commits
const (
	prefixCopy   = 'c'
	kindPlace    = 'p'
	kindSequence = 's'
)

var placeKey = []byte{prefixCopy, kindPlace}

const placeLen = 5*8 + 1 + 2*sha256.Size

func (p place) encode() []byte {
	b := make([]byte, 0, placeLen)
	for _, n := range []uint64{uint64(p.applied), uint64(p.before), uint64(p.earlier), uint64(p.from), p.sinceRestated} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	whole := byte(0)
	if p.whole {
		whole = 1
	}
	return append(append(append(b, whole), p.read[:]...), p.hash[:]...)
}

func decodePlace(b []byte) (p place, err error) {
	if len(b) != placeLen {
		return place{}, errors.New("how far the copy is cannot be read")
	}
	for i, s := range []*commitlog.Sequence{&p.applied, &p.before, &p.earlier, &p.from} {
		*s = commitlog.Sequence(binary.BigEndian.Uint64(b[8*i:]))
	}
	p.sinceRestated = binary.BigEndian.Uint64(b[32:])
	p.whole = b[40] == 1
	copy(p.hash[:], b[41+copy(p.read[:], b[41:]):])
	return p, nil
}

// place reads how far a copy is. It returns pebble.ErrNotFound if the store is none.
func (s *store) place() (place, error) {
	value, closer, err := s.db.Get(placeKey)
	if err != nil {
		return place{}, fmt.Errorf("read how far the copy is: %w", err)
	}
	p, err := decodePlace(value)
	return p, errors.Join(err, closer.Close())
}

// setPlace adds to a batch where a copy that does not exist yet begins.
func (s *store) setPlace(b *pebble.Batch) error {
	if s.copy == nil {
		return nil
	}
	return b.Set(placeKey, s.copy.encode(), nil)
}

// partial reports whether the store is a copy that is not whole.
func (s *store) partial() bool {
	if s.copy == nil {
		return false
	}
	p, err := s.place()
	return err == nil && !p.whole
}

// begin finds out which log the commits are of, and where they begin. If there are none it
// makes the first one.
func (s *shared) begin(ctx context.Context) (eventlog.ID, place, error) {
	begun := place{whole: true}
	for {
		first, found, err := s.first(ctx, begun.from)
		trimmed := (*commitlog.TrimmedError)(nil)
		switch {
		case errors.As(err, &trimmed) && trimmed.Trimmed > begun.from:
			begun.applied, begun.from, begun.whole = trimmed.Trimmed, trimmed.Trimmed, false
			continue
		case found:
			s.fails(nil)
			return begun.of(first)
		case err == nil:
			err = s.makeFirst(ctx, begun.from)
		}
		if err == nil {
			continue
		}
		if s.cannotRead(ctx, err) != nil {
			return eventlog.ID{}, place{}, fmt.Errorf("begin a copy of the event log: %w: %w", context.Cause(ctx), err)
		}
	}
}

// of completes where a copy begins by the first commit after that.
func (p place) of(first commitlog.Commit) (eventlog.ID, place, error) {
	var c commitlogv1.Commit
	if err := unmarshalCommit(first.Bytes, &c); err != nil {
		return eventlog.ID{}, place{}, err
	}
	if len(c.GetLogId()) != len(eventlog.ID{}) {
		return eventlog.ID{}, place{}, errors.New("the commits do not say which event log they are of")
	}
	copy(p.hash[:], c.GetPreviousHash())
	return eventlog.ID(c.GetLogId()), p, nil
}

// first returns the first commit after a sequence, if there is one.
func (s *shared) first(ctx context.Context, after commitlog.Sequence) (commitlog.Commit, bool, error) {
	for commit, err := range s.commits.Read(ctx, after) {
		return commit, err == nil, err
	}
	return commitlog.Commit{}, false, nil
}

func (s *shared) makeFirst(ctx context.Context, after commitlog.Sequence) error {
	id := s.logID
	if id == (eventlog.ID{}) {
		id = eventlog.NewID()
	}
	s.number++
	bytes, err := encodeCommit(&commitlogv1.Commit{LogId: id[:], Gateway: s.gateway, Number: s.number, Time: timestamppb.Now()})
	if err != nil {
		return err
	}
	if _, err := commitlog.Settle(ctx, s.commits, after, bytes); err != nil {
		return fmt.Errorf("make the first commit: %w", err)
	}
	return nil
}

// moved adds to a batch that a commit is applied, or void, after which the head is at a
// position.
func (s *shared) moved(batch *pebble.Batch, commit arrived, void bool, head eventlog.Position) (place, error) {
	next := place{
		applied: commit.Sequence, before: s.place.applied, earlier: s.place.before, read: commit.hash, hash: commit.hash,
		from: s.place.from, whole: s.place.whole, sinceRestated: s.place.sinceRestated + uint64(len(commit.Bytes)),
	}
	if void {
		next.hash = afterVoid(s.place.hash, commit.hash)
		// NOTE: Who begins directly after the one before it would take it for sound. The commit log is never
		// trimmed up to there.
		if err := batch.Delete(sequenceKey(s.place.applied), nil); err != nil {
			return next, err
		}
	}
	if s.unlisted++; s.unlisted >= s.pace.listEach {
		s.unlisted = 0
		if err := batch.Set(sequenceKey(commit.Sequence), binary.BigEndian.AppendUint64(nil, uint64(head)), nil); err != nil {
			return next, err
		}
	}
	return next, batch.Set(placeKey, next.encode(), nil)
}

// at sets the place, once it is in the store.
func (s *shared) at(p place) {
	s.place = p
	s.applied.Store(uint64(p.applied))
	s.whole.Store(p.whole)
	s.sinceRestated.Store(p.sinceRestated)
}

// endAfter ends what waits for the commit log after a while.
func (s *shared) endAfter(d time.Duration) {
	time.AfterFunc(d, func() { s.end(eventlog.ErrClosed) })
}

// err returns why no commits are made, as far as is known.
func (s *shared) err() error {
	if err := s.commits.Err(); err != nil {
		return fmt.Errorf("the commit log: %w", err) // it knows better than those who wait for it
	}
	if err := s.failing.Load(); err != nil {
		return *err
	}
	if !s.current.Load() {
		return ErrCatchingUp
	}
	return nil
}

// isCurrent reports whether the copy has caught up, and can go on.
func (s *shared) isCurrent() bool {
	err := s.failing.Load()
	return s.current.Load() && (err == nil || !errors.Is(*err, errNewer))
}

// fails says why no commits can be made; nil ends that.
func (s *shared) fails(err error) {
	if err == nil {
		s.failing.Store(nil)
		return
	}
	if before := s.failing.Swap(&err); before == nil {
		s.logger.Warn("the commit log cannot be used at present: it is tried again", "error", err)
	}
}
