package pebblelog

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	commitlogv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/commitlog/v1"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// A commit is void if it does not name the one before it. That takes a commit log that has
// lost its end, and others to go on until it ends where it had ended: then it takes a commit
// of a gateway that has not noticed. No gateway applies it, and its author, which did, finds
// out by the next one, which names another hash.
//
// Between the two its author may commit more, which is void, too: what it has answered 200 in
// that time, a second where gateways beat, is lost, and it tells of it as of what the commit
// log has lost. One that is started again looks whether its last commit names the one before.
//
// A gateway that meets one cannot tell at first whether it is the commit that is wrong, or
// its copy. So it makes the copy anew. If all of that was read from the commit log, and the
// commit log still has it, the commit is void. That may take hours, so it contradicts before: otherwise
// the author would go on, and all that it took would be lost.

// afterVoid returns the hash that the commit after a void one has to name.
func afterVoid(before, void commitHash) commitHash {
	return sha256.Sum256(append(before[:], void[:]...))
}

// mayBeVoid reports whether the commit that the copy is at does not name the one before it,
// unless the copy takes it for void, or knows better.
func (s *shared) mayBeVoid(ctx context.Context, last commitlog.Commit) (bool, error) {
	if s.proven || s.place.read != s.place.hash || s.place.before <= s.place.from {
		return false, nil
	}
	before, found, err := s.first(ctx, s.place.earlier)
	if trimmed := (*commitlog.TrimmedError)(nil); errors.As(err, &trimmed) {
		return false, nil
	}
	if err != nil || !found {
		return false, err
	}
	var c commitlogv1.Commit
	if err := unmarshalCommit(last.Bytes, &c); err != nil {
		return false, err
	}
	hash := hashOf(before)
	return string(c.GetPreviousHash()) != string(hash[:]), nil
}

// giveUp has the copy made anew, since a commit does not name the one that it is at. Again is returned if it
// is not certain yet.
func (c *committer) giveUp(ctx context.Context, cause error) (again bool, err error) {
	s := c.log.shared
	s.checked = false
	if err := c.check(ctx); err != nil || !s.checked {
		return true, err
	}
	c.contradict(ctx)
	return false, c.unusable(&copyError{cause, true})
}

// contradict makes a commit that names the one that the copy is at, as if all that came since were void.
// Whoever made those finds out by it. If it was the copy that was wrong, this commit is void itself.
// It is tried for a while: if it fails the next commit of another gateway does the same.
func (c *committer) contradict(ctx context.Context) {
	s := c.log.shared
	ctx, cancel := context.WithTimeout(ctx, s.pace.settlePatience)
	defer cancel()
	for {
		for next, err := range s.commits.Read(ctx, s.place.applied) {
			if err != nil {
				return
			}
			if _, err := s.decode(arrivedFrom(next)); !errors.Is(err, errOtherHistory) {
				return // somebody has contradicted
			}
			// NOTE: This is in memory alone: a copy that is given up MUST not be one that leaves out what is sound when
			// the gateway is stopped before it is set aside.
			after := s.place
			after.applied, after.before, after.hash = next.Sequence, after.applied, afterVoid(after.hash, hashOf(next))
			s.place = after
		}
		bytes, err := s.encode(&commitlogv1.Commit{Time: timestamppb.New(c.log.clock.get().Now)})
		if err != nil {
			return
		}
		if at, err := commitlog.Settle(ctx, s.commits, s.place.applied, bytes); at > 0 || err != nil {
			return
		}
	}
}

// skip leaves out a void commit, unless it is not certain yet that it is.
func (c *committer) skip(ctx context.Context, void arrived) error {
	s := c.log.shared
	s.checked = false
	if err := c.check(ctx); err != nil || !s.checked {
		return err
	}
	if s.place.read == s.place.hash { // the first of several
		c.log.logger.Error("a commit is left out, and those that come after it until another gateway commits: the gateway that made it did not know that the commit log had lost its end; it makes its copy anew, and logs which events are lost",
			"sequence", uint64(void.Sequence))
	}
	batch := c.store.db.NewBatch()
	defer batch.Close() // it is applied by then, or useless
	return c.apply(batch, void, true)
}

// wary is a commit log to which a commit is sent again only while it has the one that the copy is at.
// One that has lost its end, and goes on, ends there again after a while: what was sent just then would
// be void. It takes note of whether the commit log is full.
type wary struct {
	commitlog.Log
	shared *shared
	sent   bool
}

func (w *wary) Append(ctx context.Context, after commitlog.Sequence, commit []byte) (at commitlog.Sequence, err error) {
	defer func() { w.shared.full.Store(errors.Is(err, commitlog.ErrFull)) }()
	p := w.shared.place
	if w.sent && after != p.from {
		last, found, err := w.shared.first(ctx, p.before)
		switch trimmed := (*commitlog.TrimmedError)(nil); {
		case errors.As(err, &trimmed):
		case err != nil:
			return 0, err
		case !found || last.Sequence != after || hashOf(last) != p.read:
			return 0, fmt.Errorf("%w: commit %d is not there any more", errOtherHistory, after)
		}
	}
	w.sent = true
	return w.Log.Append(ctx, after, commit)
}
