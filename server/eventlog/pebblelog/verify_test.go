package pebblelog

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// update is a flag of the test binary, which is why it is a global.
var update = flag.Bool("update", false, "write the golden store of testdata anew")

// TestVerifyFinds damages a log in one way each, which Verify has to name.
func TestVerifyFinds(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(t *testing.T, log *Log, b *pebble.Batch) error
		want   string
	}{
		"nothing":      {func(*testing.T, *Log, *pebble.Batch) error { return nil }, "[]"},
		"a hole":       {func(_ *testing.T, _ *Log, b *pebble.Batch) error { return b.DeleteRange(eventKey(5), eventKey(8), nil) }, "events 5 to 7: the event is missing"},
		"not an event": {func(_ *testing.T, _ *Log, b *pebble.Batch) error { return b.Set(eventKey(5), []byte("no event"), nil) }, "events 5 to 5: the stored value is not that of an event"},
		"another event": {func(_ *testing.T, log *Log, b *pebble.Batch) error {
			value, err := valueOf(log, 9)
			return errors.Join(err, b.Set(eventKey(5), value, nil))
		}, "event 5: the sum of the sizes"},
		"a newer record": {func(_ *testing.T, log *Log, b *pebble.Batch) error {
			value, err := valueOf(log, 5)
			value[0]++
			return errors.Join(err, b.Set(eventKey(5), value, nil))
		}, "record version 3 and this gateway reads version 2"},
		"garbage within": {func(_ *testing.T, log *Log, b *pebble.Batch) error {
			value, err := valueOf(log, 5)
			value[len(value)-1], value[len(value)-3] = 0xff, 0xff
			for i := len(value) - 20; i < len(value); i++ {
				value[i] = 0xff
			}
			value[24], value[28] = value[24]+1, value[28]-1
			copy(value[60+len("client"):], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
			return errors.Join(err, b.Set(eventKey(5), value, nil))
		}, "event 5: "},
		"another epoch": {func(_ *testing.T, _ *Log, b *pebble.Batch) error {
			key, value := epochPair(eventlog.EpochStart{First: 5, Epoch: 12345})
			return b.Set(key, value, nil)
		}, "event 5: it is of the epoch"},
		"a forgotten id": {func(t *testing.T, log *Log, b *pebble.Batch) error {
			key := append(bucketPrefix(log.store.bucketsOf(t)[0]), appendDedupID(nil, &eventlog.Entry{Provider: dedupProvider(t), ClientID: "client", ProviderEventID: "id 4"})...)
			return b.Delete(key, nil)
		}, "event 5: its event id is not remembered"},
		"an id of another": {func(t *testing.T, log *Log, b *pebble.Batch) error {
			key := append(bucketPrefix(log.store.bucketsOf(t)[0]), appendDedupID(nil, &eventlog.Entry{Provider: dedupProvider(t), ClientID: "client", ProviderEventID: "id 4"})...)
			value := make([]byte, firstBodyLen)
			value[firstBodyLen-1] = 9
			return b.Set(key, value, nil)
		}, "event 9 has another"},
		"an id from the future": {func(t *testing.T, log *Log, b *pebble.Batch) error {
			value := make([]byte, firstBodyLen)
			value[firstBodyLen-1] = 99
			return b.Set(append(bucketPrefix(log.store.bucketsOf(t)[0]), "x"...), value, nil)
		}, "it is that of event 99, and the newest is 20"},
		"a malformed id": {func(t *testing.T, log *Log, b *pebble.Batch) error {
			return b.Set(append(bucketPrefix(log.store.bucketsOf(t)[0]), "x"...), []byte("x"), nil)
		}, "it is malformed"},
		"a malformed term": {func(_ *testing.T, _ *Log, b *pebble.Batch) error {
			return b.Set(stateKey("scope", kindTerm), []byte("x"), nil)
		}, `state of "scope": its term is malformed`},
		"the mark": {func(_ *testing.T, log *Log, _ *pebble.Batch) error {
			return os.WriteFile(filepath.Join(log.config.Path, "corrupt-mark"), nil, 0o600)
		}, "mark of the head: "},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig(t.TempDir())
			log := mustOpen(t, config)
			for i := range 20 {
				mustAppend(t, log, fmt.Sprint("id ", i), fmt.Sprint("body ", i%10, i/10))
			}
			b := log.store.db.NewBatch()
			if err := errors.Join(test.damage(t, log, b), b.Commit(pebble.Sync), log.Close()); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(config.Path, "corrupt-mark")); err == nil {
				if err := os.WriteFile(filepath.Join(config.Path, headMarkName), []byte("whgwheadxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			report := mustVerify(t, config.Path)
			if got := fmt.Sprint(report.Problems); !strings.Contains(got, test.want) {
				t.Errorf("problems %s, want %q", got, test.want)
			}
			if again := mustVerify(t, config.Path); fmt.Sprint(again.Problems) != fmt.Sprint(report.Problems) {
				t.Errorf("problems %v the second time", again.Problems)
			}
		})
	}
}

// valueOf returns a copy of the stored value of an event.
func valueOf(log *Log, p eventlog.Position) (value []byte, err error) {
	err = log.store.view(p, func(record eventlog.Record) { value = bytes.Clone(record.Value()) })
	return value, err
}

// dedupProvider is the provider of eventlogtest's entries.
func dedupProvider(t *testing.T) webhookgatewayv1.Provider {
	return eventlogtest.Entry(t, "client", "id", "body").Provider
}

// TestVerifyFindsLoss verifies a log with a damaged write-ahead log before and after a
// start, and repairs it from another copy of the file.
// A folder that is no log is not a damaged one, and does not become one.
func TestNoLog(t *testing.T) {
	for name, folder := range map[string]string{"empty": t.TempDir(), "none": filepath.Join(t.TempDir(), "none")} {
		if _, err := Verify(t.Context(), folder, nil); err == nil || !strings.Contains(err.Error(), folder) {
			t.Errorf("%s: Verify() = %v", name, err)
		}
		if _, err := Repair(t.Context(), folder, "", testLogger()); err == nil || !strings.Contains(err.Error(), folder) {
			t.Errorf("%s: Repair() = %v", name, err)
		}
		if names, err := os.ReadDir(folder); len(names) > 0 {
			t.Errorf("%s: the folder has %v, %v", name, names, err)
		}
	}
}

func TestVerifyFindsLoss(t *testing.T) {
	config := testConfig(t.TempDir())
	log := mustOpen(t, config)
	for i := range 100 {
		mustAppend(t, log, fmt.Sprint("id ", i), fmt.Sprint(i, string(benchBody(1000))))
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	wals, err := listWALs(vfs.Default, config.Path)
	if err != nil {
		t.Fatal(err)
	}
	wal := wals[len(wals)-1]
	good, err := os.ReadFile(wal)
	if err != nil {
		t.Fatal(err)
	}
	kept := t.TempDir()
	if err := os.WriteFile(filepath.Join(kept, filepath.Base(wal)), good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(wal, int64(len(good)/2)); err != nil {
		t.Fatal(err)
	}
	if report := mustVerify(t, config.Path); !strings.Contains(fmt.Sprint(report.Problems), "they were acknowledged and are not there") {
		t.Errorf("problems %v before a start", report.Problems)
	}
	log = mustOpen(t, config)
	lost := log.Damage().LostEvents()
	receipt := mustAppend(t, log, "id 99", fmt.Sprint(99, string(benchBody(1000)))) // the provider tries again
	if receipt.Duplicate || receipt.Position != 101 {
		t.Errorf("receipt %+v of an event that was lost", receipt)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if report := mustVerify(t, config.Path); len(report.Problems) > 0 || len(report.Lost) != 1 || lost == 0 {
		t.Errorf("Verify() = %+v after a start that lost %d", report, lost)
	}
	repaired, err := Repair(t.Context(), config.Path, "", testLogger())
	if err != nil || repaired.PutBack != 0 || len(repaired.Lost) != 1 {
		t.Errorf("Repair() = %+v, %v from what was set aside", repaired, err)
	}
	repaired, err = Repair(t.Context(), config.Path, kept, testLogger())
	if err != nil || uint64(repaired.PutBack) != lost || len(repaired.Lost) != 0 {
		t.Errorf("Repair() = %+v, %v from the whole file, want %d events", repaired, err, lost)
	}
	log = mustOpen(t, config)
	if positions, damaged := readAll(t, log, 0); len(positions) != 101 || len(damaged) > 0 {
		t.Errorf("%d events, damaged %v", len(positions), damaged)
	}
	if d := log.Damage(); len(d.Lost) > 0 {
		t.Errorf("Damage() = %+v", d)
	}
	for i := range 100 { // remembered again, the last one with its newer position
		receipt := mustAppend(t, log, fmt.Sprint("id ", i), fmt.Sprint(i, string(benchBody(1000))))
		want := eventlog.Position(i + 1)
		if i == 99 {
			want = 101
		}
		if !receipt.Duplicate || receipt.Position != want {
			t.Errorf("receipt %+v of id %d, want a duplicate of %d", receipt, i, want)
		}
	}
}

// TestGoldenStore opens a store that an earlier build has written: what has another
// layout must have another keyspaceVersion. `-update` writes it anew.
func TestGoldenStore(t *testing.T) {
	golden := filepath.Join("testdata", fmt.Sprintf("store-v%d", keyspaceVersion))
	if *update {
		writeGoldenStore(t, golden)
	}
	if report := mustVerify(t, golden); !report.OK() || report.Events != 5 || report.EventIDs != 4 || report.StatePairs != 3 {
		t.Errorf("Verify() = %+v", report)
	}
	path := filepath.Join(t.TempDir(), "restored")
	if _, err := RestoreFolder(t.Context(), golden, path); err != nil {
		t.Fatal(err)
	}
	log := mustOpen(t, testConfig(path), newClock().option())
	var bodies []string
	for record, err := range log.Read(t.Context(), 2) {
		if err != nil {
			t.Fatal(err)
		}
		event, err := record.Event(log.History(), webhookgatewayv1.EventView_EVENT_VIEW_RAW)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, fmt.Sprintf("%d %s conflict %t at %d", record.Position, event.GetRawBody(), event.GetEventIdConflict(), record.ReceiveTime().Unix()))
	}
	want := []string{
		"3 body 3 conflict false at 1767225600", "4 body 4 conflict false at 1767225600", "5 another body conflict true at 1767225600",
		"6 body 6 conflict false at 1767225600", "7 body 7 conflict false at 1767225600",
	}
	if diff := cmp.Diff(want, bodies); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if n := len(log.History().Starts()); n != 3 {
		t.Errorf("%d epochs, want two and the new one", n)
	}
	if receipt := mustAppend(t, log, "id 3", "body 3"); !receipt.Duplicate || receipt.Position != 3 {
		t.Errorf("receipt %+v, want a duplicate of event 3", receipt)
	}
	var pairs []string
	for pair, err := range log.ReadScope(t.Context(), "scope", nil, nil) {
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, string(pair.Key)+"="+string(pair.Value))
	}
	if diff := cmp.Diff([]string{"a=1", "b=2"}, pairs); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	if term, err := log.AcquireScope(t.Context(), "scope"); err != nil || term != 2 {
		t.Errorf("AcquireScope() = %d, %v, want 2", term, err)
	}
	lost := log.Damage().Lost
	if len(lost) != 0 {
		t.Errorf("lost %+v", lost)
	}
}

// writeGoldenStore writes a store with all kinds of keys, in a table and in a
// write-ahead log.
func writeGoldenStore(t *testing.T, path string) {
	config := testConfig(t.TempDir())
	log := mustOpen(t, config, newClock().option())
	for i := 1; i <= 4; i++ {
		mustAppend(t, log, fmt.Sprint("id ", min(i, 3)), fmt.Sprint("body ", min(i, 3)))
		if i == 3 {
			mustAppend(t, log, "", "body 4")
		}
	}
	if err := errors.Join(log.store.db.Flush(), log.Trim(t.Context(), 2)); err != nil {
		t.Fatal(err)
	}
	log = reopen(t, log, newClock().option())
	mustAppend(t, log, "id 3", "another body")
	term, err := log.AcquireScope(t.Context(), "scope")
	if err != nil {
		t.Fatal(err)
	}
	if err := log.CommitScope(t.Context(), "scope", term, []eventlog.StateMutation{
		{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("b"), Value: []byte("2")},
	}); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, log, "id 6", "body 6")
	mustAppend(t, log, "", "body 7")
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if _, err := SaveBackup(t.Context(), strings.NewReader(string(backUp(t, log))), path); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkVerify reads a log from the page cache.
func BenchmarkVerify(b *testing.B) {
	config := testConfig(b.TempDir())
	log := mustOpen(b, config)
	fill(b, log, benchBody(1500), 200_000)
	if err := errors.Join(log.store.db.Flush(), log.Close()); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		start := time.Now()
		report, err := Verify(b.Context(), config.Path, nil)
		if err != nil || !report.OK() {
			b.Fatal(report, err)
		}
		b.SetBytes(int64(report.Bytes))
		b.ReportMetric(float64(report.Bytes)/1e6/time.Since(start).Seconds(), "MB/s-of-events")
	}
}
