package eventlog

import "fmt"

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
