package pebblelog

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestQuotaOfLostEvents has the events lost that used up the quota of what failed
// verification: retention gives it back as if they were there, and nothing else goes with
// them.
func TestQuotaOfLostEvents(t *testing.T) {
	for _, tail := range []bool{true, false} {
		t.Run(fmt.Sprint("at the end ", tail), func(t *testing.T) {
			clock := newClock()
			disk := vfs.NewMem()
			config := testConfig("log")
			config.UnverifiedQuotaBytes = 3 * failedSize(t, "")
			config.Retention.MaxAge = 24 * time.Hour
			config.Retention.MaxBytes = 1 << 20
			log := mustOpen(t, config, WithFS(disk), clock.option())
			mustAppendVerdict(t, log, verified, "")
			flushAll(t, log)
			for range 3 {
				mustAppendVerdict(t, log, failed, "")
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			for _, wal := range walsOf(t, disk) {
				writeDisk(t, disk, wal, nil)
			}
			log = mustOpen(t, config, WithFS(disk), clock.option())
			if lost := log.Damage().LostEvents(); lost != 3 {
				t.Fatalf("%d events are lost, want 3", lost)
			}
			wantQuotaUsedUp(t, log, "")
			if !tail {
				mustAppendVerdict(t, log, verified, "")
			}
			head := log.Bounds().Head
			for range 72 {
				clock.advance(time.Hour)
				if err := log.enforceRetention(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			wantTrimmed(t, log, head)
			if stats, err := log.Stats(t.Context()); err != nil || stats.FailedBytes != 0 || stats.Bytes != 0 || len(log.Damage().Lost) > 0 {
				t.Errorf("Stats() = %+v, %v; %+v", stats, err, log.Damage())
			}
			for range 3 {
				mustAppendVerdict(t, log, failed, "")
			}
			wantQuotaUsedUp(t, log, "")
		})
	}
}
