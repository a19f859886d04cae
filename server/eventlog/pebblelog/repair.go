package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// Repaired says what a repair has done.
type Repaired struct {
	// PutBack is how many events were put back, at their own positions.
	PutBack int
	// Lost are the ranges that are still lost.
	Lost []eventlog.Lost
}

// Repair puts events that are recorded as lost back at their positions, as far as they
// can be read in the write-ahead logs in a folder. With an empty folder it tries those
// that were set aside. The log must not be open. What subscribers have passed they are
// not served again by themselves.
func Repair(ctx context.Context, path, from string, logger *slog.Logger) (Repaired, error) {
	config := DefaultConfig()
	config.Path = path
	l := &Log{config: config, logger: logger, disk: machineDisk}
	if _, err := l.disk.Stat(path); err != nil {
		return Repaired{}, fmt.Errorf("open the event log: %w", err)
	}
	if err := checkIsLog(path, l.disk); err != nil { // opening would make an empty one
		return Repaired{}, err
	}
	if err := l.acquire(); err != nil {
		return Repaired{}, err
	}
	defer l.lock.Close()
	known, err := readHeadMark(l.disk, path)
	if err != nil {
		return Repaired{}, err
	}
	s, err := openStore(config, eventlog.NewID(), known, l.disk, logger)
	if err != nil {
		return Repaired{}, fmt.Errorf("open the event log in %s: %w", path, err)
	}
	repaired, err := s.repair(ctx, from)
	return repaired, errors.Join(err, s.close())
}

func (s *store) repair(ctx context.Context, from string) (Repaired, error) {
	folders := []string{from}
	if from == "" {
		folders = nil
		seen := make(map[string]bool)
		for _, l := range s.lost {
			if l.setAside != "" && !seen[l.setAside] {
				seen[l.setAside] = true
				folders = append(folders, filepath.Join(s.path, l.setAside))
			}
		}
	}
	r := restorer{store: s, batch: s.db.NewBatch(), upTo: s.head, keepIDs: true}
	history, err := eventlog.NewHistory(s.id, s.epochs...)
	if err != nil {
		return Repaired{}, err
	}
	r.history, r.named = history, s.head.position
	r.wants = func(p eventlog.Position) bool { return p > s.trimmed.position && s.isLost(p) }
	for _, folder := range folders {
		if ctx.Err() != nil {
			return Repaired{}, context.Cause(ctx)
		}
		if err := r.putBack(folder); err != nil {
			return Repaired{}, fmt.Errorf("read what was set aside in %s: %w", folder, err)
		}
	}
	var left []loss
	for _, l := range s.lost {
		if err := r.batch.Delete(lossKey(l.after), nil); err != nil {
			return Repaired{}, err
		}
		left = append(left, l.without(r.have)...)
	}
	for _, l := range left {
		key, value := l.pair()
		if err := r.batch.Set(key, value, nil); err != nil {
			return Repaired{}, err
		}
	}
	if err := errors.Join(r.batch.Commit(pebble.Sync), r.batch.Close(), s.fence.err()); err != nil {
		return Repaired{}, fmt.Errorf("put events back: %w", err)
	}
	s.lost = left
	return Repaired{PutBack: r.count, Lost: lostWithin(left, s.trimmed.position)}, nil
}

// without returns what is left of a loss when events are back. They are in order.
func (l loss) without(have []eventlog.Lost) []loss {
	var left []loss
	part := func(after, upTo eventlog.Position) {
		if upTo > after {
			m := l.upTo
			m.position = upTo
			left = append(left, loss{after: after, upTo: m, found: l.found, setAside: l.setAside})
		}
	}
	next := l.after
	for _, h := range have {
		if h.UpTo <= next || h.After >= l.upTo.position {
			continue
		}
		part(next, h.After)
		next = max(next, h.UpTo)
	}
	part(next, l.upTo.position)
	return left
}
