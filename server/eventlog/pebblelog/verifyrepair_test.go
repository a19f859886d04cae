package pebblelog

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// TestVerifyOfARetriedLoss verifies a log with an event that is back and was stored again
// meanwhile: its id is remembered by the later one.
func TestVerifyOfARetriedLoss(t *testing.T) {
	config := testConfig(t.TempDir())
	log := mustOpen(t, config)
	mustAppend(t, log, "id", "body")
	mustAppend(t, log, "other", "body")
	first, err := valueOf(log, 1)
	if err != nil {
		t.Fatal(err)
	}
	key, value := loss{after: 0, upTo: mark{position: 1}}.pair()
	if err := write(log, func(b *pebble.Batch) error { return b.Set(key, value, nil) }); err != nil {
		t.Fatal(err)
	}
	log = reopen(t, log)
	if receipt := mustAppend(t, log, "id", "body"); receipt.Position != 3 || receipt.Duplicate {
		t.Fatalf("receipt %+v of an event that was lost", receipt)
	}
	// What a repair does.
	if err := write(log, func(b *pebble.Batch) error {
		if err := b.Delete(key, nil); err != nil {
			return err
		}
		return b.Set(eventKey(1), first, nil)
	}); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if report := mustVerify(t, config.Path); !report.OK() || report.Events != 3 {
		t.Errorf("Verify() = %+v", report)
	}
}

// write writes to the database past the log.
func write(log *Log, add func(*pebble.Batch) error) error {
	b := log.store.db.NewBatch()
	if err := add(b); err != nil {
		return err
	}
	return b.Commit(pebble.Sync)
}
