//go:build !unix

package connlimit

import "math"

// Descriptors returns how many file descriptors this process may have: this system
// has no limit of its own.
func Descriptors() (uint64, error) { return math.MaxUint64, nil }
