// Package pebblelog is the embedded engine of the event log: one folder, kept by
// Pebble, and no server.
//
// One goroutine, the committer, decides everything: it takes the group of requests
// that are waiting, finds the duplicates, gives out positions and applies one
// batch. Another waits for the fsync that the group shares, publishes the events
// and acknowledges them, while the committer builds the next group.
//
// When the disk fails, the log refuses appends, goes on serving reads, and opens
// its database again and again until that works: see fence.
package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// windowBytes is the size of the window of the newest events.
const windowBytes = 32 << 20

// Log is an event log in a folder. It implements eventlog.Log.
type Log struct {
	config Config
	logger *slog.Logger
	disk   vfs.FS
	now    func() time.Time

	id        eventlog.ID
	lock      io.Closer
	window    *eventlog.Window
	queue     *queue
	published published
	history   atomic.Pointer[eventlog.History]

	terms terms // of scopes: see state.go

	// marked is the head that the mark has, and markFails whether it could not be
	// written: see headmark.go.
	marking   sync.Mutex
	marked    eventlog.Position
	markFails bool
	damage    damage

	backup sync.Mutex // held while one is made

	// checkBytes is loadCheckBytes, but for tests.
	checkBytes int

	// store is nil once the log is closed. Whoever holds storeMu for reading may
	// use it.
	storeMu sync.RWMutex
	store   *store

	// groups is not buffered: while one group is synced the next is built and
	// applied, and meanwhile those after it gather in the queue. More groups under
	// way would be smaller ones.
	groups   chan *group
	free     chan *group // for reuse
	chunks   sync.Pool   // of *chunk
	closing  chan struct{}
	close    sync.Once
	closeErr error
	tasks    sync.WaitGroup
}

var _ eventlog.Log = (*Log)(nil)

// Option changes how a log is opened. For tests.
type Option func(*Log)

// WithFS keeps the log on a file system other than that of the machine.
func WithFS(disk vfs.FS) Option { return func(l *Log) { l.disk = disk } }

// WithClock replaces the clock that events and retention go by.
func WithClock(now func() time.Time) Option { return func(l *Log) { l.now = now } }

// Open opens the log in a folder, or creates it. It fails if another process has
// it open, and if it was written by a newer gateway. How long it takes does not
// depend on the number of events.
func Open(config Config, logger *slog.Logger, options ...Option) (*Log, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	l := &Log{
		config: config,
		logger: logger,
		disk:   vfs.Default,
		now:    time.Now,
		window: eventlog.NewWindow(windowBytes),
		queue:  newQueue(),
		groups: make(chan *group),

		checkBytes: loadCheckBytes,

		free:    make(chan *group, 2),
		closing: make(chan struct{}),
	}
	for _, option := range options {
		option(l)
	}
	if err := l.acquire(); err != nil {
		return nil, err
	}
	l.removeOldBackups()
	known, err := readHeadMark(l.disk, config.Path)
	if err != nil {
		// NOTE: A mark that cannot be read keeps no log from opening.
		logger.Error("the mark of the head cannot be used: if events were lost that is not noticed", "error", err)
	}
	committer, err := l.open(known)
	if err != nil {
		return nil, errors.Join(err, l.lock.Close())
	}
	l.id = l.store.id
	l.tasks.Go(committer.run)
	l.tasks.Go(l.acknowledge)
	l.tasks.Go(l.retain)
	l.writeHeadMark()
	l.tasks.Go(l.keepHeadMark)
	return l, nil
}

// acquire makes the folder and locks it against other processes.
func (l *Log) acquire() error {
	path := l.config.Path
	if info, err := l.disk.Stat(path); err == nil && !info.IsDir() {
		return fmt.Errorf("open the event log: %s is not a folder: give the path of a folder", path)
	}
	if err := l.disk.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("create the folder of the event log: %w", err)
	}
	lock, err := l.disk.Lock(l.disk.PathJoin(path, "LOCK"))
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EACCES):
		return fmt.Errorf("another process has the event log in %s open: stop it, or give another path: %w", path, err)
	case err != nil:
		return fmt.Errorf("lock the event log in %s: %w", path, err)
	}
	l.lock = lock
	return nil
}

// open opens the database, and publishes what it holds.
func (l *Log) open(known headMark) (*committer, error) {
	store, err := openStore(l.config.Path, l.disk, l.logger, known)
	if err != nil {
		return nil, fmt.Errorf("open the event log in %s: %w", l.config.Path, err)
	}
	dedup, err := openDedup(store, l.config.DedupWindow)
	if err != nil {
		return nil, errors.Join(err, store.close())
	}
	c := &committer{log: l}
	if err := c.use(store, dedup); err != nil {
		return nil, errors.Join(err, store.close())
	}
	for _, lost := range lostWithin(store.lost, store.trimmed.position) {
		l.logger.Warn("acknowledged events within retention are lost", "after", uint64(lost.After), "up_to", uint64(lost.UpTo), "found", lost.Found)
	}
	l.store = store
	l.published.publish(store.head)
	l.published.trim(store.trimmed)
	return c, nil
}

// ID implements eventlog.Log.
func (l *Log) ID() eventlog.ID { return l.id }

// History implements eventlog.Log.
func (l *Log) History() *eventlog.History { return l.history.Load() }

// Bounds implements eventlog.Log.
func (l *Log) Bounds() eventlog.Bounds {
	head, trimmed := l.published.get()
	return eventlog.Bounds{Trimmed: trimmed.position, Head: head.position}
}

// Changed implements eventlog.Log.
func (l *Log) Changed() <-chan struct{} { return l.published.changed() }

// Err implements eventlog.Log.
func (l *Log) Err() error { return l.queue.err() }

// Append implements eventlog.Log.
func (l *Log) Append(ctx context.Context, entry eventlog.Entry) (eventlog.Receipt, error) {
	if entry.Size() == 0 {
		return eventlog.Receipt{}, errors.New("append an entry that was not made by NewEntry")
	}
	r := l.queue.request()
	r.entry = entry
	return l.queue.do(ctx, r)
}

// Close implements eventlog.Log.
func (l *Log) Close() error {
	l.close.Do(func() {
		l.queue.refuse(eventlog.ErrClosed)
		close(l.closing)
		l.tasks.Wait()
		l.storeMu.Lock()
		store := l.store
		l.store = nil
		l.storeMu.Unlock()
		l.closeErr = store.close()
		l.writeHeadMark()
		l.closeErr = errors.Join(l.closeErr, l.lock.Close())
	})
	return l.closeErr
}

func (l *Log) isClosed() bool {
	select {
	case <-l.closing:
		return true
	default:
		return false
	}
}

// published is what readers may know of the log: its durable events.
type published struct {
	mu            sync.Mutex
	head, trimmed mark
	change        chan struct{} // nil while nobody waits
}

func (p *published) get() (head, trimmed mark) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.head, p.trimmed
}

func (p *published) publish(head mark) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if head.position > p.head.position {
		p.head = head
		p.signal()
	}
}

func (p *published) trim(trimmed mark) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if trimmed.position > p.trimmed.position {
		p.trimmed = trimmed
		p.signal()
	}
}

func (p *published) signal() {
	if p.change != nil {
		close(p.change)
		p.change = nil
	}
}

func (p *published) changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.change == nil {
		p.change = make(chan struct{})
	}
	return p.change
}
