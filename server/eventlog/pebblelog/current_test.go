package pebblelog

import (
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
)

// TestNotCurrentWhileMadeAnew: a copy that has caught up, and is given up at that moment, is not current until the one
// that takes its place has caught up.
func TestNotCurrentWhileMadeAnew(t *testing.T) {
	log := openShared(t, vfs.NewMem(), commitsOf(t, commitlogtest.NewMemory()))
	var catchingUp sync.WaitGroup
	defer catchingUp.Wait()
	for round := range 4 {
		copied := log.current()
		for range 100 {
			catchingUp.Go(log.becomeCurrent)
		}
		if err := log.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		copied.fence.fail(&copyError{errCopy, false})
		waitUntil(t, "the copy is given up", func() bool { return log.shared.rebuilt.Load() > int64(round) })
		for log.current() == copied {
			if _, current := log.CatchUp(); current && log.current() == copied {
				t.Fatalf("round %d: it is current, and its copy is made anew", round)
			}
			<-time.After(time.Millisecond)
		}
		waitUntil(t, "it has caught up", func() bool { _, current := log.CatchUp(); return current })
	}
}
