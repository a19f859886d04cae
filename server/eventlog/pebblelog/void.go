package pebblelog

import (
	"context"
	"crypto/sha256"
	"errors"

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
// commit log still has it, the commit is void.

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

// skip goes on after a void commit. Again is returned if it is not certain yet that it is.
func (c *committer) skip(ctx context.Context, void commitlog.Commit) (again bool, err error) {
	s := c.log.shared
	s.checked = false
	if err := c.check(ctx); err != nil || !s.checked {
		return true, err
	}
	c.log.logger.Error("a commit is left out: the gateway that made it did not know that the commit log had lost its end; it makes its copy anew, and logs which events are lost",
		"sequence", uint64(void.Sequence))
	batch := c.store.db.NewBatch()
	defer batch.Close() // it is applied by then, or useless
	return false, c.apply(batch, void, true)
}
