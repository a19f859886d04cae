package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// shorten trims the commit log as far as it can be, and takes a step of a pass if there is
// one. It reports whether more steps are to be taken.
func (l *Log) shorten() (more bool, err error) {
	s := l.shared
	s.shortening.Lock()
	defer s.shortening.Unlock()
	done, under, trimmable, err := l.restateState()
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(s.life, s.pace.shortenPatience)
	defer cancel()
	noted := s.trims
	if upTo := s.certain(min(done.began, trimmable.upTo), trimmable.store); upTo > s.trimmed {
		if err := l.trimCommits(ctx, upTo, trimmable.store); err != nil {
			s.trims = noted // it is tried again soon
			return false, fmt.Errorf("trim the commit log up to %d: %w", upTo, err)
		}
	}
	if !under && (trimmable.upTo <= done.began || s.sinceRestated.Load() < max(s.pace.minBytes, s.pace.growth*done.bytes)) {
		return false, nil
	}
	return true, l.write(ctx, kindRestate, func(c *committer, batch *pebble.Batch) error { return c.restate(batch, under) })
}

// trimCommits trims the commit log for what an opening of the copy says. A commit proves before
// that the commit log still has all that this opening has: it may have lost its end, which
// takes a while to be believed. One that is full takes no commit until it is trimmed: that it says so directly
// after the last commit of the copy has to do.
func (l *Log) trimCommits(ctx context.Context, upTo commitlog.Sequence, opening *store) error {
	s := l.shared
	s.full.Store(false)
	if err := l.Sync(ctx); err != nil && !s.full.Load() {
		return err
	}
	if err := l.stillServes(opening); err != nil {
		return err
	}
	if err := s.commits.Trim(s.life, upTo); err != nil {
		return err
	}
	s.trimmed = upTo
	l.logger.Debug("the commit log was trimmed", "up_to", uint64(upTo))
	return l.forgetSequences(upTo)
}

// stillServes returns an error unless an opening of the copy is in use, and can be.
func (l *Log) stillServes(opening *store) error {
	l.storeMu.RLock()
	defer l.storeMu.RUnlock()
	if l.store != opening {
		return errors.New("the copy was opened anew meanwhile")
	}
	return opening.fence.err()
}

// A trimming is up to where the commit log can be trimmed, as an opening of the copy says since a
// time.
type trimming struct {
	upTo  commitlog.Sequence
	since time.Time
	store *store
}

// certain takes note of up to where the commit log can be trimmed now, and returns up to where
// that was so a while ago, 0 if it is not known yet.
func (s *shared) certain(upTo commitlog.Sequence, opening *store) commitlog.Sequence {
	if s.pace.certainAfter == 0 {
		return upTo
	}
	now := trimming{upTo, time.Now(), opening}
	if s.trims.upTo == 0 || s.trims.store != opening {
		s.trims = now
	}
	if now.since.Sub(s.trims.since) < s.pace.certainAfter {
		return 0
	}
	was := s.trims.upTo
	s.trims = now
	return was
}

// restateState returns the last whole pass, whether one is under way, and the last
// sequence up to which all events are trimmed.
//
// NOTE: That events are trimmed is true only if the commit log says so. What readers know, see
// Bounds, may be of a commit that is lost.
func (l *Log) restateState() (done pass, under bool, trimmable trimming, err error) {
	l.storeMu.RLock()
	defer l.storeMu.RUnlock()
	if l.store == nil {
		return pass{}, false, trimming{}, eventlog.ErrClosed
	}
	if err := l.store.fence.err(); err != nil {
		return pass{}, false, trimming{}, err // it is being replaced
	}
	if done, err = l.store.restated(); err != nil {
		return pass{}, false, trimming{}, err
	}
	if _, under, err = l.store.restating(); err != nil {
		return pass{}, false, trimming{}, err
	}
	value, err := l.store.meta(metaTrimmed)
	if err != nil {
		return pass{}, false, trimming{}, err
	}
	trimmed, err := decodeMark(value)
	if err != nil {
		return pass{}, false, trimming{}, err
	}
	trimmable.store = l.store
	trimmable.upTo, err = l.store.lastSequenceUpTo(trimmed.position)
	return done, under, trimmable, err
}
