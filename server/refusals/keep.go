package refusals

import (
	"cmp"
	"slices"
	"time"
)

const (
	// saveInterval is how often changes are stored at most, and retryInterval how often that
	// is tried while it fails.
	saveInterval  = time.Second
	retryInterval = 10 * time.Second
)

// keep stores what changes, until the ring is closed.
func (r *Ring) keep() {
	defer r.store.close()
	for ended := false; !ended; {
		select {
		case <-r.unsaved:
		case <-r.end:
			ended = true
		}
		pause := r.saveInterval
		if err := r.save(); err != nil {
			pause = r.retryInterval
			r.changedSome()
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-r.end:
		}
		timer.Stop()
	}
}

// changedSome has keep look for what is to be stored.
func (r *Ring) changedSome() {
	select {
	case r.unsaved <- struct{}{}:
	default:
	}
}

// save stores what has changed.
func (r *Ring) save() error {
	all := r.store.needsAll()
	changed, some := r.unstored(all)
	if !some && !r.store.damaged {
		return nil
	}
	err := r.store.save(changed, all)
	r.store.told(err)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range changed {
		if e := r.entries[changed[i].key]; e != nil && e.changed == changed[i].changed {
			e.stored = true
		}
	}
	return nil
}

// unstored returns the entries that are not stored, or all, in the order of their changes, and
// whether any is not stored.
func (r *Ring) unstored(all bool) (entries []entry, some bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.entries {
		some = some || !e.stored
		if all || !e.stored {
			entries = append(entries, *e)
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.changed, b.changed) })
	return entries, some
}
