package eventlog

import (
	"fmt"
	"time"
)

// DamagedError is returned when events that were stored cannot be read any more:
// some of those after a position up to another.
type DamagedError struct {
	// After is the position up to which the log is complete. UpTo is the last
	// position that is damaged: reading after it works.
	After, UpTo Position
	// Err is what reading them failed with.
	Err error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("events after position %d up to %d are damaged: %v", e.After, e.UpTo, e.Err)
}

// Unwrap returns what reading the events failed with.
func (e *DamagedError) Unwrap() error { return e.Err }

// Damage is what an engine knows of retained events that cannot be read.
type Damage struct {
	// Lost are those that were gone when the log was opened, oldest first.
	Lost []Lost
	// Unreadable is how many others readers have met since the log was opened.
	Unreadable uint64
}

// LostEvents returns how many events are lost.
func (d Damage) LostEvents() uint64 {
	n := uint64(0)
	for _, lost := range d.Lost {
		n += uint64(lost.UpTo - lost.After)
	}
	return n
}

// Lost is a range of positions whose events were acknowledged and are gone. Nothing
// else gets these positions.
type Lost struct {
	// After is the position before the first one, and UpTo the last.
	After, UpTo Position
	// Found is when the loss was found.
	Found time.Time
	// SetAside says where an engine keeps what is left of the files that they were in,
	// empty if nothing is.
	SetAside string
}
