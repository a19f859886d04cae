package pebblelog

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// A disk that hangs gives no error: who waits for it waits. Operations of an opening
// are therefore known while they are under way, and one that takes longer than
// stallAfter is told of.
const (
	stallAfter    = 5 * time.Second
	tablePatience = 12
)

// underWay has the operations on the disk that have not ended.
type underWay struct {
	mu   sync.Mutex
	next uint64
	all  map[uint64]operation
}

type operation struct {
	what, name string
	began      time.Time
}

// begin notes an operation, and returns what to call when it has ended.
func (u *underWay) begin(what, name string) (end func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all == nil {
		u.all = make(map[uint64]operation)
	}
	u.next++
	id := u.next
	u.all[id] = operation{what, name, time.Now()}
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.all, id)
	}
}

// overdue returns an operation that has taken longer than it should, if there is any:
// longer than after, or if it is on a table, for which nobody waits, than
// tablePatience times that.
func (u *underWay) overdue(after time.Duration) (operation, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, o := range u.all {
		allowed := after
		if isTable(o.name) {
			allowed *= tablePatience
		}
		if time.Since(o.began) >= allowed {
			return o, true
		}
	}
	return operation{}, false
}

// A stall watches the operations of the store that is in use.
type stall struct {
	after  time.Duration
	logger *slog.Logger
	store  atomic.Pointer[store]
	// now is why the disk is thought to hang; nil if it does not.
	now atomic.Pointer[error]
}

func (s *stall) err() error {
	if err := s.now.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *stall) check() {
	o, ok := s.store.Load().fence.underWay.overdue(s.after)
	was := s.now.Load()
	if !ok {
		if was != nil {
			s.now.Store(nil)
			s.logger.Info("the disk of the event log answers again")
		}
		return
	}
	took := time.Since(o.began)
	err := fmt.Errorf("the disk of the event log has not answered for %v: %s %s", took.Round(s.after/5), o.what, filepath.Base(o.name))
	s.now.Store(&err)
	if was == nil {
		s.logger.Error("the disk of the event log does not answer: what is to be stored waits", "operation", o.what, "file", filepath.Base(o.name), "for", took)
	}
}

// watch looks for operations that hang.
func (s *stall) watch(closed <-chan struct{}) {
	ticker := time.NewTicker(s.after / 5)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.check()
		case <-closed:
			return
		}
	}
}
