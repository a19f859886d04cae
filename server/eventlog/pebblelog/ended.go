package pebblelog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// endedName is a file that is there from when a gateway knows that the commit log has lost
// its end until it has said so: the copy that shows it is made anew by then.
const endedName = "ended.copy"

// An ended is what a gateway had of a commit log that has lost its end.
type ended struct {
	// had is the head of the copy, as readers have seen it.
	had mark
	// knew are the epochs that readers knew. One that was begun afterwards may be lost, though the events
	// are there: see overwritten.go.
	knew []eventlog.EpochStart
	// aside are the folders that copies were set aside in, relative to that of the log.
	aside []string
}

// epochLine begins a line of the file with an epoch. The others are folders.
const epochLine = "epoch "

func (e *ended) encode() []byte {
	lines := slices.Clone(e.aside)
	for _, start := range e.knew {
		lines = append(lines, fmt.Sprintf(epochLine+"%d %d", start.First, start.Epoch))
	}
	return append(e.had.encode(), strings.Join(lines, "\n")...)
}

func decodeEnded(b []byte) (*ended, error) {
	had, err := decodeMark(b[:min(len(b), markLen)])
	e := &ended{had: had}
	if err != nil || len(b) == markLen {
		return e, err
	}
	for line := range strings.SplitSeq(string(b[markLen:]), "\n") {
		var start eventlog.EpochStart
		switch _, err := fmt.Sscanf(line, epochLine+"%d %d", &start.First, &start.Epoch); {
		case !strings.HasPrefix(line, epochLine):
			e.aside = append(e.aside, line)
		case err != nil:
			return e, fmt.Errorf("the line %q: %w", line, err)
		default:
			e.knew = append(e.knew, start)
		}
	}
	return e, nil
}

// lostEnd takes note that the commit log has lost what readers have seen up to a head, and may have lost
// epochs that they knew.
func (l *Log) lostEnd(head mark) {
	e := &ended{had: head}
	if history := l.history.Load(); history != nil {
		e.knew = history.Starts()
	}
	if before := l.shared.ended.Load(); before != nil {
		e.had, e.aside = laterMark(before.had, head), before.aside
		for _, start := range before.knew {
			if !slices.Contains(e.knew, start) {
				e.knew = append(e.knew, start)
			}
		}
	}
	l.shared.ended.Store(e)
}

// keepEnded writes the file.
func (l *Log) keepEnded() error {
	if e := l.shared.ended.Load(); e != nil {
		return writeFile(l.disk, l.config.Path, endedName, e.encode())
	}
	return nil
}

// keepAside adds a folder to the file, in which a copy was set aside.
func (l *Log) keepAside(folder string) error {
	if e := l.shared.ended.Load(); e != nil && folder != "" {
		l.shared.ended.Store(&ended{had: e.had, knew: e.knew, aside: append(slices.Clip(e.aside), folder)})
	}
	return l.keepEnded()
}

// loadEnded reads the file, if there is one.
func (l *Log) loadEnded() error {
	file, err := l.disk.Open(l.disk.PathJoin(l.config.Path, endedName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", endedName, err)
	}
	content, err := io.ReadAll(io.LimitReader(file, maxHeadMarkBytes))
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("read %s: %w", endedName, err)
	}
	e, err := decodeEnded(content)
	if err != nil {
		e.knew = nil // some of them are as good as none: see replaced
		l.logger.Error("which events the commit log has lost cannot be read: a new epoch is begun", "file", endedName, "error", err)
	}
	l.shared.ended.Store(e)
	return nil
}

// tellEnded makes it known to all gateways that the commit log has lost what this one had:
// the positions and terms are not given out again, and what comes is of a new epoch. It is a
// commit of its own, which is tried again if another comes first.
func (c *committer) tellEnded(ctx context.Context) error {
	was := c.remember()
	batch := c.store.db.NewBatch()
	defer batch.Close() // it is applied by then, or useless
	if err := c.addEnded(batch); err != nil {
		return err
	}
	done, err := c.commit(ctx, batch)
	if err != nil || !done {
		c.forget(was)
		return err
	}
	c.log.shared.ended.Store(nil)
	if err := c.log.disk.Remove(c.log.disk.PathJoin(c.log.config.Path, endedName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.log.logger.Warn("it will be said again that the commit log has lost its end", "error", err)
	}
	return nil
}

func (c *committer) addEnded(batch *pebble.Batch) error {
	e := c.log.shared.ended.Load()
	had := e.had
	log := c.log.logger.With("had", uint64(had.position), "head", uint64(c.head.position))
	if had.position <= c.head.position {
		log.Error("the commit log has lost its end, and went on before this gateway noticed: what this gateway had is set aside")
	} else {
		log.Error("the commit log has lost its end: whoever resumes there is told of a gap, and what this gateway had is set aside")
	}
	if err := c.renameOverwritten(batch, e); err != nil {
		return err
	}
	if had.position > c.head.position {
		if len(c.history.Starts()) == 0 {
			key, value := epochPair(eventlog.EpochStart{Epoch: eventlog.NewEpoch(), First: 1})
			if err := batch.Set(key, value, nil); err != nil {
				return err
			}
		}
		lost := loss{after: c.head.position, upTo: laterMark(c.head, had), found: c.log.clock.get().Now}
		key, value := lost.pair()
		if err := batch.Set(key, value, nil); err != nil {
			return err
		}
		c.head = lost.upTo
	}
	due := binary.BigEndian.AppendUint64(nil, uint64(c.head.position))
	return errors.Join(c.store.leapTerms(batch), batch.Set(metaKey(metaEpochDue), due, nil))
}
