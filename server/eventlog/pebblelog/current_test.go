package pebblelog

import (
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
)

// TestNotCurrentWhileMadeAnew: a copy that has caught up, and is given up at that moment, is not current until the one
// that takes its place has caught up.
func TestNotCurrentWhileMadeAnew(t *testing.T) {
	commits := &switched{Log: commitsOf(t, commitlogtest.NewMemory())}
	log := openShared(t, vfs.NewMem(), commits, withPace())
	for round := range 20 {
		var catchingUp sync.WaitGroup
		for range 50 {
			catchingUp.Go(log.becomeCurrent)
		}
		if err := log.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		commits.noAppends.Store(true)
		log.storeMu.RLock()
		log.store.fence.fail(&copyError{errCopy, false})
		log.storeMu.RUnlock()
		waitUntil(t, "the copy is made anew", func() bool { return log.shared.rebuilt.Load() > int64(round) })
		for range 1000 {
			if _, current := log.CatchUp(); current {
				t.Fatalf("round %d: it is current before it has caught up", round)
			}
		}
		commits.noAppends.Store(false)
		catchingUp.Wait()
		waitUntil(t, "it has caught up", func() bool { _, current := log.CatchUp(); return current })
	}
}
