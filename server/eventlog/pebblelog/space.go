package pebblelog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The disk is looked at every spaceInterval, and each time that spaceCheckBytes were
// applied.
const (
	spaceInterval   = time.Second
	spaceCheckBytes = 1 << 20
)

// The reserve that Config.DiskReserve 0 stands for.
const (
	minReserve      = 64 << 20
	maxReserve      = 1 << 30
	reserveFraction = 20
	// maxReserveFraction bounds the reserve on a disk that is smaller than it.
	maxReserveFraction = 4
)

// A space keeps a reserve of the disk free. What removes old events needs room on
// the disk itself: for the write-ahead log, for what is in memory tables, and for
// compactions. So events are refused when the disk has less than the reserve, and
// the state of subscriptions when it has less than half of it: workers go on as long
// as possible. Retention is never refused.
type space struct {
	path    string
	disk    vfs.FS
	reserve uint64 // as configured
	queue   *queue
	logger  *slog.Logger

	mu    sync.Mutex
	usage vfs.DiskUsage
	known bool
	// aside is how many folders there are of what was set aside, negative if that is not known.
	aside int
	// lacking has, by kind, whether it is refused.
	lacking [kindUpkeep]bool
}

// Reserve returns how many bytes of a disk of a size are kept free.
func (c Config) Reserve(total uint64) uint64 { return reserveOf(c.DiskReserve, total) }

// reserveOf returns the reserve of a disk.
func reserveOf(configured, total uint64) uint64 {
	if configured > 0 {
		return configured
	}
	return min(max(min(total/reserveFraction, maxReserve), minReserve), total/maxReserveFraction)
}

// check looks at the disk, and refuses what does not fit any more.
func (s *space) check() {
	usage, err := s.disk.GetDiskUsage(s.path) // a disk that hangs holds up nobody else
	s.mu.Lock()
	defer s.mu.Unlock()
	s.usage, s.known = usage, err == nil && usage.TotalBytes > 0
	reserve := reserveOf(s.reserve, usage.TotalBytes)
	for k, needed := range [kindUpkeep]uint64{kindEvent: reserve, kindState: reserve / 2} {
		if s.lacking[k] {
			needed += reserve / 8 // so that it does not change its mind all the time
		}
		lacking := s.known && usage.AvailBytes < needed
		if lacking == s.lacking[k] {
			continue
		}
		s.lacking[k] = lacking
		var refusal error
		if lacking {
			refusal = fmt.Errorf("the disk of the event log is nearly full: %s are free, and less than %s of them are only for removing old events: "+
				"make room on it, or keep events for a shorter time (store.retention)", mebibytes(usage.AvailBytes), mebibytes(needed))
		}
		s.queue.refuseKind(kind(k), refusal)
		s.log(kind(k), usage.AvailBytes, reserve)
	}
}

func (s *space) log(k kind, free, reserve uint64) {
	what := [kindUpkeep]string{kindEvent: "events", kindState: "the state of subscriptions"}[k]
	if s.lacking[k] {
		s.logger.Error("the disk of the event log is nearly full: something is refused until there is room", "refused", what, "free_bytes", free, "reserve_bytes", reserve)
		return
	}
	s.logger.Info("the disk of the event log has room again", "taken", what, "free_bytes", free, "reserve_bytes", reserve)
}

// free returns how many bytes of the disk are free now, if that is known.
func (s *space) free() (uint64, bool) {
	usage, err := s.disk.GetDiskUsage(s.path)
	return usage.AvailBytes, err == nil
}

// roomFor returns an error if something that can wait would take the room that removing
// old events and the state of subscriptions need.
func (s *space) roomFor(bytes uint64) error {
	usage, err := s.disk.GetDiskUsage(s.path)
	if err != nil || usage.TotalBytes == 0 {
		return nil //nolint:nilerr // it is not known: what it is for will show
	}
	if needed := reserveOf(s.reserve, usage.TotalBytes)/2 + bytes; usage.AvailBytes < needed {
		return fmt.Errorf("the disk of the event log is nearly full: %s are free, and this needs %s: make room on it", mebibytes(usage.AvailBytes), mebibytes(needed))
	}
	return nil
}

// get returns what the disk was last seen to have, and the reserve of it, if that is
// known.
func (s *space) get() (usage vfs.DiskUsage, reserve uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usage, reserveOf(s.reserve, s.usage.TotalBytes), s.known
}

// short reports whether events are refused for lack of room.
func (s *space) short() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lacking[kindEvent]
}

// countAside counts what was set aside. Somebody deletes it while the log is open.
func (s *space) countAside() {
	names, err := s.disk.List(s.disk.PathJoin(s.path, asideFolder))
	aside := len(names)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		aside = -1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aside = aside
}

// setAside returns how many folders there were of what was set aside, if that is known.
func (s *space) setAside() (folders int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.aside, s.aside >= 0
}

// watch looks at the disk again and again.
func (s *space) watch(closing <-chan struct{}) {
	ticker := time.NewTicker(spaceInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.check()
			s.countAside()
		case <-closing:
			return
		}
	}
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// reclaim has Pebble make room of what was removed, if that is much or there is not
// enough: a deletion frees nothing as long as it is in a memory table, and without
// events that would be for ever.
func (l *Log) reclaim() error {
	l.storeMu.RLock()
	defer l.storeMu.RUnlock()
	freed := l.freed.Load()
	if l.store == nil || l.store.fence.err() != nil || freed < l.store.memTable && (freed == 0 || !l.space.short()) {
		return nil
	}
	if _, err := l.store.db.AsyncFlush(); err != nil {
		return fmt.Errorf("make room of what was removed: %w", err)
	}
	l.freed.Store(0)
	return nil
}
