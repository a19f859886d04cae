package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	commitlogv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/commitlog/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A copyError is why a copy of a shared log cannot be used any more: it is made anew of
// the commits. Keep is set if it may have what the commit log has not: then its files are
// set aside.
type copyError struct {
	error
	keep bool
}

func (e *copyError) Unwrap() error { return e.error }

// errCopy is for a copy that is damaged.
var errCopy = errors.New("the copy of the event log is damaged")

// clearingName is a file that is there while the files of a copy are removed.
const clearingName = "clearing.copy"

// openFirstCopy opens the copy for the first time. If there is none it begins one; while the
// commit log does not answer the log is open without: see nocopy.go.
func (l *Log) openFirstCopy() (*store, *dedup, error) {
	if err := l.acquire(); err != nil {
		return nil, nil, err
	}
	l.removeOldBackups()
	if err := l.loadEnded(); err != nil {
		return nil, nil, err
	}
	ctx, cancel := l.shared.patiently()
	defer cancel()
	store, dedup, err := l.openCopy(ctx, nil)
	if l.spoil(err, mark{}); l.shared.spoiled != nil {
		store, dedup, err = l.openCopy(ctx, l.shared.spoiled)
		l.shared.spoiled = nil
	}
	if errors.Is(err, errNoCopy) {
		store, dedup, err = l.openWithoutCopy(err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open the copy of the event log in %s: %w", l.config.Path, err)
	}
	return store, dedup, nil
}

// copyName is a file that is in the folder of a copy, with the name of the log. Without it
// nothing in a folder is ever removed.
const copyName = "shared.copy"

// openCopy opens the copy. With an error it makes a new one, of which nothing is there
// yet.
func (l *Log) openCopy(ctx context.Context, unusable *copyError) (*store, *dedup, error) {
	if err := l.clearCopy(unusable); err != nil {
		return nil, nil, err
	}
	known, err := exists(l.disk, l.disk.PathJoin(l.config.Path, copyName))
	if err != nil {
		return nil, nil, err
	}
	store, dedup, err := l.openKnownCopy(ctx)
	if err != nil && store != nil {
		err = errors.Join(err, store.abandon())
	}
	if known && isCopyDamage(err) {
		err = &copyError{err, false}
	}
	if err != nil {
		return nil, nil, err
	}
	if !known {
		if err := l.nameCopy(store.id); err != nil {
			return nil, nil, errors.Join(err, store.abandon())
		}
	}
	return store, dedup, nil
}

func isCopyDamage(err error) bool {
	return err != nil && !errors.As(err, new(*copyError)) &&
		(isDamage(err) || errors.Is(err, errManifest) || errors.Is(err, errFolder) || errors.Is(err, errCopy) || errors.Is(err, fs.ErrNotExist))
}

// openKnownCopy opens the copy, or begins one.
func (l *Log) openKnownCopy(ctx context.Context) (*store, *dedup, error) {
	if err := checkFolder(l.config.Path, l.disk); err != nil {
		return nil, nil, err
	}
	found, err := pebble.Peek(l.config.Path, l.disk)
	if err != nil {
		if isNewerFiles(err) {
			err = fmt.Errorf("the copy was written by a later version of the gateway, and nothing was changed: use that version, or give store.pebble.path an empty folder, in which the copy is made anew: %w", err)
		}
		return nil, nil, err
	}
	var begun place
	if !found.Exists {
		l.logger.Info("a copy of the event log is begun: it is made of the commit log", "path", l.config.Path)
		if l.shared.logID, begun, err = l.shared.begin(ctx); err != nil {
			return nil, nil, err
		}
		if err := l.nameCopy(l.shared.logID); err != nil {
			return nil, nil, err
		}
	}
	config := l.config
	config.copy = &begun
	store, dedup, err := openBoth(config, l.shared.logID, headMark{sectors: &l.sectors}, l.disk, l.logger)
	if err != nil {
		return nil, nil, err
	}
	if err := l.shared.load(store); err != nil {
		return store, dedup, err
	}
	l.shared.proven = !found.Exists
	return store, dedup, nil
}

func (l *Log) nameCopy(id eventlog.ID) error {
	return writeFile(l.disk, l.config.Path, copyName, []byte(id.String()+"\n"))
}

// load reads how far the copy is.
func (s *shared) load(st *store) error {
	p, err := st.place()
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return fmt.Errorf("the folder has the event log of one machine, %v: move it to the commit log with `webhook-gateway log copy`, or give store.pebble.path an empty folder", st.id)
	case s.logID != (eventlog.ID{}) && st.id != s.logID:
		return fmt.Errorf("the folder has a copy of the event log %v, and the commit log is of %v: give store.pebble.path an empty folder", st.id, s.logID)
	case err != nil:
		return &copyError{err, false}
	}
	s.logID, s.checked, s.absent = st.id, false, time.Time{}
	s.at(p)
	return nil
}

// refuseCopy returns an error if the store is a copy of a shared log: without the commit log
// it would become another one.
func (s *store) refuseCopy() error {
	_, err := s.place()
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return nil
	case err != nil && !s.isDamage(err):
		return err
	}
	return errors.New("the folder has a copy of an event log that gateways share: configure its store.commit_log, or give another folder")
}

// useCopy makes the committer go on with an opening of the copy.
func (c *committer) useCopy(store *store, dedup *dedup) error {
	history, err := eventlog.NewHistory(store.id, store.epochs...)
	if err != nil {
		return fmt.Errorf("read the epochs: %w", err)
	}
	c.store, c.dedup, c.head, c.trimmed = store, dedup, store.head, store.trimmed
	c.freed, c.deleted, c.epoch = store.trimmed.totals.Bytes, 0, nil
	if n := len(store.epochs); n > 0 {
		c.current = store.epochs[n-1].Epoch
	}
	c.epochDue, c.log.shared.moving = 0, false
	for _, name := range []string{metaEpochDue, metaMoving} {
		value, err := store.meta(name)
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err == nil {
			err = c.observeFacts(&commitlogv1.Operation{Key: metaKey(name), Value: value})
		}
		if err != nil {
			return err
		}
	}
	c.history = history
	c.log.terms = terms{}
	if c.head.position > 0 {
		c.log.clock.gave(c.head.receiveTime) // what a copy that is not whole applies is not told
	}
	return nil
}

// serves reports whether reads are served from the opening that the committer has.
func (c *committer) serves() bool {
	c.log.storeMu.RLock()
	defer c.log.storeMu.RUnlock()
	return c.log.store == c.store
}

// spoil takes note of why the copy cannot be used, if it is that. head is what readers have
// seen of it.
func (l *Log) spoil(err error, head mark) {
	s := l.shared
	s.current.Store(false)
	var unusable *copyError
	if !errors.As(err, &unusable) {
		return
	}
	s.logger.Error("the copy of the event log cannot be used: it is made anew of the commit log", "error", unusable.error, "head", uint64(head.position))
	s.rebuilt.Add(1)
	s.spoiled = unusable
	if unusable.keep {
		l.lostEnd(head)
	}
}

// reopenCopy replaces the copy by a new opening of it. One that cannot be used is made
// anew. Reads go on with the old one until the new one has all that they have seen.
func (c *committer) reopenCopy() error {
	l, s := c.log, c.log.shared
	head, _ := l.published.get()
	store, dedup, err := l.openCopy(s.life, s.spoiled)
	if err != nil {
		l.spoil(err, head)
		return err
	}
	s.spoiled = nil
	was, wasDedup := c.store, c.dedup
	if err = c.useCopy(store, dedup); err == nil {
		err = c.catchUpTo(head)
	}
	if err != nil {
		l.spoil(err, head)
		failed := c.store // refresh may have replaced it
		c.store, c.dedup = was, wasDedup
		return errors.Join(err, failed.abandon())
	}
	l.window.Trim(lastPosition) // it may have what the commit log has lost, which others may have told already
	l.published.trim(c.trimmed) // before the new one is read: it may lack what others have trimmed meanwhile
	l.replace(c.store, c.history)
	l.published.publish(c.head)
	l.tasks.Go(l.becomeCurrent)
	return nil
}

// catchUpTo applies commits until a head is reached that readers have seen. If the commit
// log has lost it, which a commit that comes after its last one proves, that is to be told.
func (c *committer) catchUpTo(head mark) error {
	s := c.log.shared
	for {
		changed := s.commits.Changed()
		if err := c.catchUp(s.life); err != nil {
			return err
		}
		if s.ended.Load() != nil {
			return nil
		}
		if c.head.position >= head.position {
			return c.noteReplaced(head)
		}
		if s.moving { // nobody else may commit
			select {
			case <-changed:
				continue
			case <-s.life.Done():
				return context.Cause(s.life)
			}
		}
		batch := c.store.db.NewBatch()
		last, err := c.commit(s.life, batch)
		if err := errors.Join(err, batch.Close()); err != nil {
			return err
		}
		if last {
			c.log.lostEnd(head)
			if err := c.log.keepEnded(); err != nil {
				return err
			}
		}
	}
}

// refresh opens the copy anew when it has become whole: what is known of it in memory was
// learned from a part.
func (c *committer) refresh() error {
	l := c.log
	serves := c.serves()
	l.storeMu.Lock()
	defer l.storeMu.Unlock()
	c.dedup.closeIter()
	err := errors.Join(c.store.db.Flush(), c.store.close())
	var store *store
	var dedup *dedup
	if proven := l.shared.proven; err == nil {
		store, dedup, err = l.openCopy(l.shared.life, nil)
		l.shared.proven = proven
	}
	if err != nil {
		// NOTE: What is closed must not be read. The committer opens it again.
		closed, memoryErr := openInMemory(l.config, l.shared.logID, l.logger, diskError{err})
		if memoryErr != nil {
			return errors.Join(err, memoryErr)
		}
		store = closed
	} else {
		err = c.useCopy(store, dedup)
	}
	c.store = store
	if serves {
		l.store = store
		if err == nil {
			l.history.Store(c.history)
		}
		l.stall.store.Store(store)
		l.published.publish(store.head)
		l.published.trim(store.trimmed)
		l.clock.start(store)
	}
	return err
}

// clearCopy takes the files of a copy that cannot be used out of the folder: it removes them,
// or sets them aside. It also finishes what an earlier call has begun.
func (l *Log) clearCopy(unusable *copyError) error {
	path := l.config.Path
	if err := l.keepEnded(); err != nil {
		return err
	}
	clearing, err := exists(l.disk, l.disk.PathJoin(path, clearingName))
	if err != nil || !clearing && unusable == nil {
		return err
	}
	names, err := l.disk.List(path)
	if err != nil {
		return err
	}
	var files []string
	for _, name := range names {
		switch {
		case name == lockName, name == asideFolder, name == clearingName, name == endedName, name == GatewayFolder, strings.HasPrefix(name, backupPrefix), name == "lost+found":
		default:
			files = append(files, l.disk.PathJoin(path, name))
		}
	}
	if unusable != nil && unusable.keep {
		aside, err := setAside(l.disk, path, files)
		if err == nil {
			err = l.keepAside(aside)
		}
		if err != nil {
			return err
		}
		l.logger.Warn("the copy of the event log is set aside: it may have events that the commit log has lost", "folder", l.disk.PathJoin(path, aside))
		unusable.keep = false // what comes next may fail, and be tried again: it is there once
	}
	if err := writeFile(l.disk, path, clearingName, nil); err != nil {
		return err
	}
	for _, file := range files {
		if err := l.disk.RemoveAll(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove a copy of the event log that cannot be used: %w", err)
		}
	}
	if err := l.disk.Remove(l.disk.PathJoin(path, clearingName)); err != nil {
		return err
	}
	return syncFolder(l.disk, path)
}

// finishCopy ends an opening of a copy, in which nothing is mended.
func (s *store) finishCopy() error {
	if err := s.db.RatchetFormatMajorVersion(formatVersion); err != nil {
		return err
	}
	if err := s.fence.err(); err != nil {
		return err
	}
	if len(s.damaged.list()) > 0 {
		return fmt.Errorf("%w: %w", errCopy, pebble.ErrCorruption)
	}
	s.guard.letGo()
	s.fence.serving.Store(true)
	return s.fence.err()
}
