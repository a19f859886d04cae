package server_test

import (
	"testing"
	"time"
)

// eventually waits for what comes by itself.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	end := time.After(time.Minute)
	for !condition() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-end:
			t.Fatalf("%s: not within a minute", what)
		}
	}
}
