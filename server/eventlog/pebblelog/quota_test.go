package pebblelog

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

const (
	verified   = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED
	failed     = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED
	notChecked = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_NOT_CHECKED
)

func appendVerdict(
	t testing.TB, log *Log, verdict webhookgatewayv1.VerificationVerdict, eventID string,
) (eventlog.Receipt, error) {
	t.Helper()
	return log.Append(t.Context(), eventlogtest.EntryWithVerdict(t, verdict, "client", eventID, "body"))
}

func mustAppendVerdict(
	t testing.TB, log *Log, verdict webhookgatewayv1.VerificationVerdict, eventID string,
) eventlog.Receipt {
	t.Helper()
	receipt, err := appendVerdict(t, log, verdict, eventID)
	if err != nil {
		t.Fatalf("Append(%v) = %v", verdict, err)
	}
	return receipt
}

func wantQuotaUsedUp(t testing.TB, log *Log, eventID string) {
	t.Helper()
	head := log.Bounds().Head
	if receipt, err := appendVerdict(t, log, failed, eventID); !errors.Is(err, eventlog.ErrUnverifiedQuota) {
		t.Errorf("Append() beyond the quota = %+v, %v", receipt, err)
	}
	if log.Bounds().Head != head {
		t.Error("it was stored")
	}
}

func failedSize(t testing.TB, eventID string) uint64 {
	t.Helper()
	return uint64(eventlogtest.EntryWithVerdict(t, failed, "client", eventID, "body").Size())
}

// TestUnverifiedQuota checks that what failed verification is refused beyond its
// quota, after a crash too, that nothing else is, and that retention gives the quota
// back to the byte.
func TestUnverifiedQuota(t *testing.T) {
	disk := vfs.NewCrashableMem()
	config := testConfig("log")
	config.UnverifiedQuotaBytes = 3 * failedSize(t, "id0")
	log := mustOpen(t, config, WithFS(disk))
	for i := range 3 { // positions 1 to 6
		mustAppendVerdict(t, log, failed, fmt.Sprint("id", i))
		mustAppendVerdict(t, log, verified, fmt.Sprint("id", i))
	}
	for range 2 {
		wantQuotaUsedUp(t, log, "id3")
		wantQuotaUsedUp(t, log, "")
		if receipt := mustAppendVerdict(t, log, failed, "id0"); receipt != (eventlog.Receipt{Position: 1, Duplicate: true}) {
			t.Errorf("the retry of what was stored: %+v", receipt)
		}
		stats, err := log.Stats(t.Context())
		if err != nil || stats.FailedBytes != config.UnverifiedQuotaBytes || stats.Bytes <= stats.FailedBytes {
			t.Errorf("Stats() = %+v, %v", stats, err)
		}
		disk = disk.CrashClone(vfs.CrashCloneCfg{})
		log = mustOpen(t, config, WithFS(disk))
	}
	// What was refused is not remembered as if it had been stored.
	if err := log.Trim(t.Context(), 3); err != nil { // two that failed
		t.Fatal(err)
	}
	for i := range 2 {
		want := eventlog.Receipt{Position: eventlog.Position(7 + i)}
		if receipt := mustAppendVerdict(t, log, failed, fmt.Sprint("id", 3+i)); receipt != want {
			t.Errorf("after the trim: %+v, want %+v", receipt, want)
		}
	}
	wantQuotaUsedUp(t, log, "id5")
	for _, verdict := range []webhookgatewayv1.VerificationVerdict{verified, notChecked} {
		mustAppendVerdict(t, log, verdict, "id5")
	}
	if err := log.Trim(t.Context(), log.Bounds().Head); err != nil {
		t.Fatal(err)
	}
	if stats, err := log.Stats(t.Context()); err != nil || stats.FailedBytes != 0 || stats.Bytes != 0 {
		t.Errorf("Stats() after everything was trimmed = %+v, %v", stats, err)
	}
}

func TestUnverifiedQuotaWithoutLimit(t *testing.T) {
	config := testConfig("log")
	config.UnverifiedQuotaBytes = 0
	log := mustOpen(t, config, WithFS(vfs.NewMem()))
	mustAppendVerdict(t, log, failed, "")
}

// TestUnverifiedQuotaIsExact has many store at once.
func TestUnverifiedQuotaIsExact(t *testing.T) {
	const room, appends = 20, 100
	config := testConfig("log")
	config.UnverifiedQuotaBytes = room*failedSize(t, "") + 1
	log := mustOpen(t, config, WithFS(vfs.NewMem()))
	var stored, refused atomic.Int64
	var group sync.WaitGroup
	for range appends {
		group.Go(func() {
			switch _, err := appendVerdict(t, log, failed, ""); {
			case err == nil:
				stored.Add(1)
			case errors.Is(err, eventlog.ErrUnverifiedQuota):
				refused.Add(1)
			default:
				t.Errorf("Append() = %v", err)
			}
		})
	}
	group.Wait()
	if stored.Load() != room || refused.Load() != appends-room {
		t.Errorf("%d are stored and %d refused, want %d and %d", stored.Load(), refused.Load(), room, appends-room)
	}
}

// TestUnverifiedDoesNotPushOut checks that retention by size removes what is not
// verified for the sake of nothing else, and nothing else for its sake.
func TestUnverifiedDoesNotPushOut(t *testing.T) {
	config := testConfig("log")
	config.Retention.MaxBytes = 2 * failedSize(t, "")
	log := mustOpen(t, config, WithFS(vfs.NewMem()))
	mustAppendVerdict(t, log, verified, "")
	for range 10 {
		mustAppendVerdict(t, log, failed, "")
	}
	wantTrimmed(t, log, 0)
	mustAppendVerdict(t, log, verified, "")
	wantTrimmed(t, log, 0)
	mustAppendVerdict(t, log, verified, "")
	wantTrimmed(t, log, 1)
}
