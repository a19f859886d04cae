package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

const (
	memTableBytes = 64 << 20
	// Pebble counts memory tables as a part of the cache.
	cacheBytes = 256 << 20

	// The committer waits while more than this has not been flushed or compacted.
	// Pebble's own limits are set so high that they are never reached: it would wait
	// inside Apply, and for ever if the disk has failed.
	maxMemTablesBytes = 5 * memTableBytes
	maxL0Sublevels    = 24
	stopMemTables     = 16
	stopL0            = 1000
)

// errReadOnly is for what an opening would mend if it could.
var errReadOnly = errors.New("it is missing or damaged: the next start of a gateway makes it anew")

// A store is one opening of the database.
type store struct {
	path   string
	disk   vfs.FS
	logger *slog.Logger
	guard  *guard
	fence  *fence
	db     *pebble.DB
	// readOnly is set if nothing may be written.
	readOnly bool

	// What was found at the opening.
	id            eventlog.ID
	head, trimmed mark
	epochs        []eventlog.EpochStart
	lost          []loss
	// damaged are tables that cannot be read in full. unmended is set if some of them
	// stay so: see mend.go.
	damaged  damagedTables
	unmended bool
	// implied is a position that was given out according to the table of epochs.
	implied eventlog.Position
}

func (s *store) options(logger *slog.Logger) *pebble.Options {
	o := &pebble.Options{
		FS:                          s.fence,
		DisableConsistencyCheck:     true, // a table that is missing or cut is damage like any other
		Logger:                      pebbleLogger{logger: logger, fence: s.fence},
		FormatMajorVersion:          pebble.FormatTableFormatV6,
		CacheSize:                   cacheBytes,
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: stopMemTables,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       stopL0,
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) {
				if s.fence.err() == nil {
					logger.Warn("background work of the event log failed", "error", err)
				}
			},
			DataCorruption: s.damaged.found,
		},
	}
	for i := range o.Levels {
		level := &o.Levels[i]
		level.BlockSize = 32 << 10
		level.IndexBlockSize = 256 << 10
		level.FilterPolicy = bloom.FilterPolicy(10)
		level.Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	}
	return o
}

// load reads the facts about the log, and writes those of a new one. What is damaged
// of them is taken from what is known besides, or found out from the events.
func (s *store) load(known headMark) error {
	version, err := s.meta(metaKeyspace)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return s.create(known)
	case isDamage(err):
		return s.reload(known, err)
	case err != nil:
		return err
	}
	if len(version) != 1 {
		return errors.New("the keyspace version of the event log is malformed")
	}
	if version[0] != keyspaceVersion {
		return fmt.Errorf("the event log has keyspace version %d and this gateway supports version %d: use the version of the gateway that wrote it, or another path", version[0], keyspaceVersion)
	}
	id, err := s.meta(metaLogID)
	switch {
	case isDamage(err):
		return s.reload(known, err)
	case err != nil:
		return err
	}
	if len(id) != len(s.id) {
		return errors.New("the id of the event log is malformed")
	}
	s.id = eventlog.ID(id)

	trimmed, err := s.meta(metaTrimmed)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
	case isDamage(err):
		return s.reload(known, err)
	case err != nil:
		return err
	default:
		if s.trimmed, err = decodeMark(trimmed); err != nil {
			return fmt.Errorf("read %s: %w", metaTrimmed, err)
		}
	}
	return s.loadRest(known)
}

// loadRest reads what is not a fact of its own: losses, the head, the epochs.
func (s *store) loadRest(known headMark) error {
	if known.id != s.id {
		known = headMark{}
	}
	if err := s.loadLosses(); err != nil && !isDamage(err) {
		return fmt.Errorf("read what the event log has lost: %w", err)
	}
	if err := s.loadHead(known); err != nil {
		return fmt.Errorf("find the newest event: %w", err)
	}
	if err := s.loadEpochs(known); err != nil {
		return fmt.Errorf("read the epochs of the event log: %w", err)
	}
	return nil
}

// create makes a new log. If one is known in this folder its name goes on: it has
// lost everything.
func (s *store) create(known headMark) error {
	if known.running && known.head.position > 0 {
		return errors.New("the folder of the event log is empty, and was not: is its disk mounted?")
	}
	s.id = eventlog.NewID()
	if known.id != (eventlog.ID{}) {
		s.id = known.id
	}
	return s.writeFacts()
}

func (s *store) writeFacts() error {
	if s.readOnly {
		return errReadOnly
	}
	batch := s.db.NewBatch()
	err := errors.Join(
		batch.Set(metaKey(metaKeyspace), []byte{keyspaceVersion}, nil),
		batch.Set(metaKey(metaLogID), s.id[:], nil),
		batch.Set(metaKey(metaTrimmed), s.trimmed.encode(), nil),
		batch.Commit(pebble.Sync),
		batch.Close(),
	)
	if err != nil {
		return fmt.Errorf("create the event log: %w", err)
	}
	return nil
}

func (s *store) meta(name string) ([]byte, error) {
	value, closer, err := s.db.Get(metaKey(name))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	value = append([]byte(nil), value...)
	return value, closer.Close()
}

// event reads one event.
func (s *store) event(p eventlog.Position) (eventlog.Record, error) {
	value, closer, err := s.db.Get(eventKey(p))
	if err != nil {
		return eventlog.Record{}, err
	}
	value = append([]byte(nil), value...)
	if err := closer.Close(); err != nil {
		return eventlog.Record{}, err
	}
	return parseEvent(p, value, true)
}

// events returns an iterator over the events strictly after a position and up to
// another.
func (s *store) events(after, upTo eventlog.Position) (*pebble.Iterator, error) {
	lower, upper := eventKeysAfter(after, upTo)
	return s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
}

// recordAt returns the record that an iterator stands on, valid until it moves.
func recordAt(iter *pebble.Iterator) (eventlog.Record, error) {
	p, err := parseEventKey(iter.Key())
	if err != nil {
		return eventlog.Record{}, err
	}
	value, err := iter.ValueAndErr()
	if err != nil {
		return eventlog.Record{}, err
	}
	return parseEvent(p, value, false)
}

// overloaded reports whether too much background work is waiting.
func (s *store) overloaded() bool {
	m := s.db.Metrics()
	return m.MemTable.Size > maxMemTablesBytes || m.Levels[0].Sublevels > s.maxSublevels()
}

// close ends the opening. No iterator may be open.
func (s *store) close() error {
	if s.fence.err() != nil {
		s.fence.release()
	}
	if err := s.db.Close(); err != nil && s.fence.err() == nil {
		return fmt.Errorf("close the event log: %w", err)
	}
	return nil
}

// pebbleLogger passes on what Pebble logs.
type pebbleLogger struct {
	logger *slog.Logger
	fence  *fence
}

func (l pebbleLogger) Infof(format string, args ...any)  { l.log(slog.LevelDebug, format, args) }
func (l pebbleLogger) Errorf(format string, args ...any) { l.log(slog.LevelError, format, args) }

// Fatalf is called on failures that Pebble does not go on after. This opening is
// not trusted any further, and the process lives.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.log(slog.LevelError, format, args)
	l.fence.fail(fmt.Errorf(format, args...))
}

func (l pebbleLogger) log(level slog.Level, format string, args []any) {
	if l.fence.err() != nil {
		level = slog.LevelDebug
	}
	ctx := context.Background()
	if l.logger.Enabled(ctx, level) {
		l.logger.Log(ctx, level, "pebble", "details", fmt.Sprintf(format, args...))
	}
}
