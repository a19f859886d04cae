package pebblelog

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// dedupModel is what a log with deduplication, retention by hand and a quota has to
// do, told in the simplest way: it keeps every event ever stored.
type dedupModel struct {
	tb     testing.TB
	config Config
	disk   *vfs.MemFS
	clock  *testClock
	log    *Log

	stored  []modelEvent
	trimmed int
}

type modelID struct {
	verdict           webhookgatewayv1.VerificationVerdict
	clientID, eventID string
}

type modelEvent struct {
	id   modelID
	body string
	at   time.Time
	size uint64
}

func (m *dedupModel) open() {
	var err error
	if m.log, err = Open(m.config, testLogger(), WithFS(m.disk), m.clock.option()); err != nil {
		m.tb.Fatalf("Open() = %v", err)
	}
}

func (m *dedupModel) close() {
	if err := m.log.Close(); err != nil {
		m.tb.Fatalf("Close() = %v", err)
	}
}

func (m *dedupModel) failedBytes() (sum uint64) {
	for _, event := range m.stored[m.trimmed:] {
		if event.id.verdict == failed {
			sum += event.size
		}
	}
	return sum
}

// append stores an event, and checks the receipt.
func (m *dedupModel) append(id modelID, body string) {
	entry := eventlogtest.EntryWithVerdict(m.tb, id.verdict, id.clientID, id.eventID, body)
	event := modelEvent{id: id, body: body, at: m.log.clock.get().Now, size: uint64(entry.Size())}
	receipt, err := m.log.Append(m.tb.Context(), entry)
	full := id.verdict == failed && m.failedBytes()+event.size > m.config.UnverifiedQuotaBytes
	switch {
	case errors.Is(err, eventlog.ErrUnverifiedQuota):
		if !full {
			m.tb.Fatalf("%v is refused, with %d bytes of the quota used", event, m.failedBytes())
		}
		if same := m.latest(event, true); m.certain(same) {
			m.tb.Fatalf("the retry of %v is refused", event)
		}
		return
	case err != nil:
		m.tb.Fatalf("Append(%v) = %v", event, err)
	}
	m.check(event, receipt)
	if receipt.Duplicate {
		return
	}
	if full {
		m.tb.Fatalf("%v is stored beyond the quota", event)
	}
	if want := eventlog.Position(len(m.stored) + 1); receipt.Position != want {
		m.tb.Fatalf("%v has position %d, want %d", event, receipt.Position, want)
	}
	m.stored = append(m.stored, event)
}

// check compares a receipt with what was stored before. Between one window and two an
// id may be remembered or not.
func (m *dedupModel) check(event modelEvent, receipt eventlog.Receipt) {
	same, other := m.latest(event, true), m.latest(event, false)
	if receipt.Duplicate {
		if !m.possible(same) || receipt.Position != eventlog.Position(same+1) {
			m.tb.Fatalf("%v is a duplicate of %d; the same was last stored at %d", event, receipt.Position, same+1)
		}
		return
	}
	if m.certain(same) {
		m.tb.Fatalf("%v was stored at %d, and is stored again: %+v", event, same+1, receipt)
	}
	switch {
	case receipt.Conflict && !m.possible(other):
		m.tb.Fatalf("%v is a conflict, with nothing: %+v", event, receipt)
	case !receipt.Conflict && m.certain(other):
		m.tb.Fatalf("%v is no conflict, although %d has another body", event, other+1)
	}
}

// latest returns the index of the newest event with the same id that has the same
// body, or another one; -1 for none.
func (m *dedupModel) latest(event modelEvent, sameBody bool) int {
	for i := len(m.stored) - 1; i >= 0; i-- {
		if m.stored[i].id == event.id && (m.stored[i].body == event.body) == sameBody && event.id.eventID != "" {
			return i
		}
	}
	return -1
}

func (m *dedupModel) certain(i int) bool { return i >= 0 && m.age(i) < m.config.DedupWindow }

// possible goes by the time of retention, which lags after a crash: see clock.
func (m *dedupModel) possible(i int) bool {
	return i >= 0 && m.log.clock.get().Retention.Sub(m.stored[i].at) < 2*m.config.DedupWindow
}

// age is by the time of the log, which is not that of a clock that jumped: see clock.
func (m *dedupModel) age(i int) time.Duration { return m.log.clock.get().Now.Sub(m.stored[i].at) }

// checkLog compares all that is retained, and the sums.
func (m *dedupModel) checkLog() {
	stats, err := m.log.Stats(m.tb.Context())
	if err != nil || stats.FailedBytes != m.failedBytes() {
		m.tb.Fatalf("Stats() = %+v, %v, want %d bytes that failed", stats, err, m.failedBytes())
	}
	next := m.trimmed
	for record, err := range m.log.Read(m.tb.Context(), eventlog.Position(m.trimmed)) {
		if err != nil {
			m.tb.Fatal(err)
		}
		want := m.stored[next]
		next++
		if record.Position != eventlog.Position(next) || record.Verdict() != want.id.verdict ||
			string(record.ProviderEventID()) != want.id.eventID || uint64(record.Size()) != want.size {
			m.tb.Fatalf("event %d is not %v", record.Position, want)
		}
	}
	if next != len(m.stored) {
		m.tb.Fatalf("the log ends at %d, want %d", next, len(m.stored))
	}
}

// TestDedupModel tries what may come in any order on the real engine: deliveries of
// all verdicts, restarts, crashes, trims, and time that passes.
func TestDedupModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tb := modelTB{TB: t, rt: rt}
		config := testConfig("log")
		config.Retention.MaxAge = 0
		config.Retention.Interval = 1000 * time.Hour
		config.UnverifiedQuotaBytes = 6 * failedSize(t, "id0")
		m := &dedupModel{tb: tb, config: config, disk: vfs.NewCrashableMem(), clock: newClock()}
		m.open()
		defer func() { _ = m.log.Close() }()
		id := rapid.Custom(func(rt *rapid.T) modelID {
			return modelID{
				verdict:  rapid.SampledFrom([]webhookgatewayv1.VerificationVerdict{verified, failed, notChecked}).Draw(rt, "verdict"),
				clientID: rapid.SampledFrom([]string{"a", "ab"}).Draw(rt, "client"),
				eventID:  rapid.SampledFrom([]string{"id0", "bid0", ""}).Draw(rt, "event id"),
			}
		})
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				m.append(id.Draw(rt, "id"), fmt.Sprint("body", rapid.IntRange(0, 3).Draw(rt, "body")))
			},
			"append many bodies": func(rt *rapid.T) {
				id, first := id.Draw(rt, "id"), rapid.IntRange(0, 10).Draw(rt, "first")
				for i := range 20 {
					m.append(id, fmt.Sprint("body", first+i))
				}
			},
			"pass time": func(rt *rapid.T) {
				m.clock.advance(m.config.DedupWindow * time.Duration(rapid.IntRange(1, 10).Draw(rt, "quarters")) / 4)
			},
			"check retention": func(*rapid.T) {
				if err := m.log.enforceRetention(tb.Context()); err != nil {
					tb.Fatal(err)
				}
			},
			"trim": func(rt *rapid.T) {
				m.trimmed = rapid.IntRange(m.trimmed, len(m.stored)).Draw(rt, "up to")
				if err := m.log.Trim(tb.Context(), eventlog.Position(m.trimmed)); err != nil {
					tb.Fatal(err)
				}
			},
			"flush": func(*rapid.T) { // so that tables and their filters are read
				if err := errors.Join(m.log.store.db.Flush(), m.log.store.db.Compact(tb.Context(), []byte{0}, []byte{0xff}, false)); err != nil {
					tb.Fatal(err)
				}
			},
			"restart": func(*rapid.T) {
				m.close()
				m.open()
			},
			"crash": func(*rapid.T) {
				crashed := m.disk.CrashClone(vfs.CrashCloneCfg{})
				m.close()
				m.disk = crashed
				m.open()
			},
			"": func(*rapid.T) { m.checkLog() },
		})
	})
}

// modelTB is a test whose failures are rapid's, which shrinks them.
type modelTB struct {
	testing.TB
	rt *rapid.T
}

func (t modelTB) Helper()                           { t.rt.Helper() }
func (t modelTB) Fatal(args ...any)                 { t.rt.Fatal(args...) }
func (t modelTB) Fatalf(format string, args ...any) { t.rt.Fatalf(format, args...) }
