package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// formatVersion is that of the files that Pebble writes.
const formatVersion = pebble.FormatTableFormatV6

const (
	// A memory table has at most maxMemTableBytes, and less on a disk on which the
	// reserve could not take all of them: reserveMemTables fit into it.
	minMemTableBytes = 1 << 20
	maxMemTableBytes = 64 << 20
	reserveMemTables = 8
	// Pebble counts memory tables as a part of the cache.
	cacheBytes = 256 << 20

	// The committer waits while more than this has not been flushed or compacted.
	// Pebble's own limits are set so high that they are never reached: it would wait
	// inside Apply, and for ever if the disk has failed.
	maxMemTables   = 5
	maxL0Sublevels = 24
	stopMemTables  = 16
	stopL0         = 1000

	// The committer of a copy waits for the disk only while the write-ahead log of a memory table that is full is
	// synced. The kernel is asked to write it in parts of this size before, so that little is left by then.
	copyBytesPerSync = 4 << 20
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
	// memTable is the size of a memory table.
	memTable uint64
	// maxFiles is how many files are open at the same time.
	maxFiles int
	// copy is set for the copy of a shared log: what is damaged of it is an error. It says
	// where one begins that does not exist.
	copy *place
	// moving is set if the log may have been moved.
	moving bool
	// readOnly is set if nothing may be written.
	readOnly bool

	// What was found at the opening.
	id            eventlog.ID
	head, trimmed mark
	epochs        []eventlog.EpochStart
	lost          []loss
	// The clock when the log was last in use; zero if that is not known.
	seen, retained time.Time
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
		ReadOnly:                    s.readOnly,
		DisableConsistencyCheck:     s.copy == nil, // a table that is missing or cut is damage like any other
		Logger:                      pebbleLogger{logger: logger, fence: s.fence},
		CacheSize:                   cacheBytes,
		MaxOpenFiles:                s.maxFiles,
		MemTableSize:                s.memTable,
		MemTableStopWritesThreshold: stopMemTables,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       stopL0,
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) {
				if s.fence.err() == nil {
					logger.Warn("background work of the event log failed", "error", err)
				}
			},
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				// NOTE: Behind a raised fence what Pebble says of its files is not to be trusted.
				if s.fence.err() == nil {
					s.damaged.found(info)
					s.isDamage(fmt.Errorf("%w: %w", pebble.ErrCorruption, info.Details))
				}
			},
		},
	}
	if s.copy != nil {
		o.WALBytesPerSync = copyBytesPerSync
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
func (s *store) load(newID eventlog.ID, known headMark) error {
	version, err := s.meta(metaKeyspace)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return s.create(newID, known)
	case s.isDamage(err):
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
	case s.isDamage(err):
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
	case s.isDamage(err):
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
	if !s.readOnly {
		if err := s.putBackKept(); err != nil && !s.isDamage(err) {
			return err
		}
	}
	if known.id != s.id {
		known = headMark{}
	}
	if err := s.loadLosses(); err != nil && !s.isDamage(err) {
		return fmt.Errorf("read what the event log has lost: %w", err)
	}
	if err := s.loadHead(known); err != nil {
		return fmt.Errorf("find the newest event: %w", err)
	}
	if err := s.loadEpochs(known); err != nil {
		return fmt.Errorf("read the epochs of the event log: %w", err)
	}
	if err := s.loadClock(); err != nil && !s.isDamage(err) {
		return err
	}
	return nil
}

// provisional reports whether an opening writes nothing and serves until one can.
func (s *store) provisional() bool { return s.readOnly && s.fence.err() != nil }

// create makes a new log with an id. If one is known in this folder its name goes on:
// it has lost everything.
func (s *store) create(id eventlog.ID, known headMark) error {
	if known.running && known.head.position > 0 {
		return errors.New("the folder of the event log is empty, and was not: is its disk mounted?")
	}
	s.id = id
	if s.copy != nil && id == (eventlog.ID{}) {
		return fmt.Errorf("%w: its facts are missing", errCopy)
	}
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
		s.setPlace(batch),
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

// view reads one event. It copies nothing: an event may be large. The record is valid
// until read returns.
func (s *store) view(p eventlog.Position, read func(eventlog.Record)) error {
	value, closer, err := s.db.Get(eventKey(p))
	if err != nil {
		return err
	}
	record, err := parseEvent(p, value)
	if err == nil {
		read(record)
	}
	return errors.Join(err, closer.Close())
}

// mark reads the mark of one event.
func (s *store) mark(p eventlog.Position) (m mark, err error) {
	err = s.view(p, func(record eventlog.Record) { m = markOf(record) })
	return m, err
}

// epoch reads the epoch of one event.
func (s *store) epoch(p eventlog.Position) (epoch eventlog.Epoch, err error) {
	err = s.view(p, func(record eventlog.Record) { epoch = record.Epoch() })
	return epoch, err
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
	return parseEvent(p, value)
}

// overloaded reports whether too much background work is waiting.
func (s *store) overloaded() bool {
	m := s.db.Metrics()
	return m.MemTable.Size > maxMemTables*s.memTable || m.Levels[0].Sublevels > s.maxSublevels()
}

// close ends the opening. No iterator may be open.
func (s *store) close() error {
	s.fence.release()
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
