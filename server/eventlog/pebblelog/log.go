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
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// closeTimeout bounds Close on a disk that does not answer.
const closeTimeout = 10 * time.Second

// windowBytes is the size of the window of the newest events.
const windowBytes = 32 << 20

// Log is an event log in a folder. It implements eventlog.Log.
type Log struct {
	config Config
	logger *slog.Logger
	disk   vfs.FS
	clock  *clock

	lock      io.Closer
	window    *eventlog.Window
	queue     *queue
	published published
	history   atomic.Pointer[eventlog.History]

	terms terms // of scopes: see state.go

	// shared is set if the log is shared with other gateways: see shared.go.
	shared *shared

	space *space
	// freed is how many bytes of events were removed that a flush has not made room
	// of yet.
	freed atomic.Uint64

	// marked is the head that the mark has, markFails whether it could not be written, and
	// markSaid whether that was logged: see headmark.go.
	marking             sync.Mutex
	marked              eventlog.Position
	markFails, markSaid bool
	// before is the mark that was found at the start, while the log is read alone; nil
	// afterwards. It may know of more than what is read.
	before atomic.Pointer[headMark]
	damage damage
	// sectors are what of the files cannot be read.
	sectors badSectors

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
	retained chan struct{} // closed when the retention was enforced for the first time
	close    sync.Once
	closed   chan struct{} // when closeErr is there
	closeErr error
	tasks    sync.WaitGroup

	stall        stall
	closeTimeout time.Duration
	// throttling is since when the committer waits for background work, Unix
	// nanoseconds, 0 if it does not; throttled how long it has waited before.
	throttling, throttled atomic.Int64
	// failures counts how often the disk has failed.
	failures atomic.Int64
}

var _ eventlog.Log = (*Log)(nil)

// Option changes how a log is opened. All but WithCommits and InMemory are for tests.
type Option func(*Log)

// WithFS keeps the log on a file system other than that of the machine.
func WithFS(disk vfs.FS) Option { return func(l *Log) { l.disk = disk } }

// InMemory keeps a log in memory. Logs that are opened with the same option, one after
// the other, are in the same memory: what one has stored the next one has.
func InMemory() Option { return WithFS(vfs.NewMem()) }

// KeepLive has the newest events be kept in memory for those who follow the log, as is
// done from the start, or has none be kept: then every event is read from the disk, and
// no Record is Live. For tests.
func (l *Log) KeepLive(keep bool) {
	if keep {
		l.window.Resize(windowBytes)
		return
	}
	l.window.Resize(0)
}

// WithClock replaces the clock of the machine, which may jump, and the one that tells
// how long the process has been running, which may not.
func WithClock(wall func() time.Time, running func() time.Duration) Option {
	return func(l *Log) { l.clock.wall, l.clock.running = wall, running }
}

// withPatience replaces how long the log waits for the disk.
func withPatience(stallAfter, closeTimeout time.Duration) Option {
	return func(l *Log) { l.stall.after, l.closeTimeout = stallAfter, closeTimeout }
}

// Open opens the log in a folder, or creates it. It fails if another process has
// it open, and if it was written by a newer gateway. If the disk cannot be written it
// does not fail: the log then serves what is there, and refuses appends until the
// disk works. How long it takes does not depend on the number of events.
func Open(config Config, logger *slog.Logger, options ...Option) (*Log, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	opened := time.Now()
	l := &Log{
		config: config,
		logger: logger,
		disk:   machineDisk,
		clock:  &clock{wall: time.Now, running: func() time.Duration { return time.Since(opened) }, logger: logger},
		window: eventlog.NewWindow(windowBytes),
		queue:  newQueue(),
		groups: make(chan *group),

		checkBytes: loadCheckBytes,

		free:    make(chan *group, 2),
		closing: make(chan struct{}),
		closed:  make(chan struct{}),

		retained: make(chan struct{}),

		stall:        stall{after: stallAfter, logger: logger},
		closeTimeout: closeTimeout,
	}
	for _, option := range options {
		option(l)
	}
	l.space = &space{path: config.Path, disk: l.disk, reserve: config.DiskReserve, queue: l.queue, logger: logger}
	committer, err := l.open()
	if err != nil {
		return nil, errors.Join(err, l.release())
	}
	l.space.check()
	l.space.countAside()
	go l.stall.watch(l.closed) // also while it is being closed
	l.tasks.Go(func() { l.space.watch(l.closing) })
	l.tasks.Go(committer.run)
	l.tasks.Go(l.acknowledge)
	l.tasks.Go(l.retain)
	if l.shared != nil {
		if l.hasCopy() {
			l.tasks.Go(l.becomeCurrent)
		}
		l.tasks.Go(l.keepRestating)
		return l, nil
	}
	l.writeHeadMark()
	l.tasks.Go(l.keepHeadMark)
	return l, nil
}

// open opens the database, and publishes what it holds.
func (l *Log) open() (*committer, error) {
	c := &committer{log: l}
	open, use := l.openFirst, c.use
	if l.shared != nil {
		open, use = l.openFirstCopy, c.useCopy
	}
	store, dedup, err := open()
	if err != nil {
		return nil, err
	}
	if err := use(store, dedup); err != nil {
		return nil, errors.Join(err, store.close())
	}
	if c.history != nil {
		l.history.Store(c.history)
	}
	l.clock.start(store)
	for _, lost := range lostWithin(store.lost, store.trimmed.position) {
		l.logger.Warn("acknowledged events within retention are lost", "after", uint64(lost.After), "up_to", uint64(lost.UpTo), "found", lost.Found)
	}
	l.store = store
	l.stall.store.Store(store)
	l.published.publish(store.head)
	l.published.trim(store.trimmed)
	if cause := store.fence.err(); cause != nil {
		l.queue.refuse(cannotWrite(cause)) // until the committer has opened it anew
	}
	return c, nil
}

func cannotWrite(cause error) error { return fmt.Errorf("the event log cannot write: %w", cause) }

// release gives the folder up to other processes.
func (l *Log) release() error {
	if l.lock == nil {
		return nil
	}
	return l.lock.Close()
}

// ID implements eventlog.Log. A copy that is not begun yet has none.
func (l *Log) ID() eventlog.ID { return l.History().Log() }

// History implements eventlog.Log.
func (l *Log) History() *eventlog.History { return l.history.Load() }

// Bounds implements eventlog.Log.
func (l *Log) Bounds() eventlog.Bounds {
	head, trimmed := l.published.get()
	return eventlog.Bounds{Trimmed: trimmed.position, Head: head.position}
}

// Changed implements eventlog.Log.
func (l *Log) Changed() <-chan struct{} { return l.published.changed() }

// Clock implements eventlog.Log.
func (l *Log) Clock() eventlog.Clock { return l.clock.get() }

// Err implements eventlog.Log.
func (l *Log) Err() error {
	if err := l.queue.err(); err != nil {
		return err
	}
	if l.shared != nil {
		if err := l.shared.err(); err != nil {
			return err
		}
	}
	return l.stall.err()
}

// Append implements eventlog.Log.
func (l *Log) Append(ctx context.Context, entry eventlog.Entry) (eventlog.Receipt, error) {
	if entry.Size() == 0 {
		return eventlog.Receipt{}, errors.New("append an entry that was not made by NewEntry")
	}
	r := l.queue.request()
	r.entry = entry
	return l.queue.do(ctx, r)
}

// Close implements eventlog.Log. If the disk does not answer it returns an error
// after some seconds; the folder stays locked until the disk does, or the process
// ends.
func (l *Log) Close() error {
	l.close.Do(func() {
		l.queue.refuse(eventlog.ErrClosed)
		close(l.closing)
		if l.shared != nil {
			l.shared.endAfter(l.closingPatience())
		}
		go l.end()
	})
	select {
	case <-l.closed:
		return l.closeErr
	case <-time.After(l.closeTimeout):
	}
	err := l.stall.err()
	if err == nil {
		err = errors.New("the disk is busy")
	}
	return fmt.Errorf("close the event log within %v: %w", l.closeTimeout, err)
}

// end releases everything when the work under way is done.
func (l *Log) end() {
	defer close(l.closed)
	l.tasks.Wait()
	l.storeMu.Lock()
	store := l.store
	l.store = nil
	l.storeMu.Unlock()
	l.closeErr = store.close()
	if l.shared == nil {
		l.writeHeadMark()
	}
	l.closeErr = errors.Join(l.closeErr, l.release())
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

// wake has those who wait for a change look again.
func (p *published) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signal()
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
