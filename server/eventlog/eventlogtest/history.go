package eventlogtest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// receiveTimes returns the receive times of all events, the first at index 0.
func receiveTimes(t *testing.T, log eventlog.Log) []time.Time {
	t.Helper()
	var times []time.Time
	for record, err := range log.Read(t.Context(), log.Bounds().Trimmed) {
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, record.ReceiveTime())
	}
	return times
}

func testSeek(t *testing.T, h Harness) {
	log := open(t, h)
	appendBodies(t, log, 1, 100)
	check := func() {
		t.Helper()
		trimmed := log.Bounds().Trimmed
		times := receiveTimes(t, log)
		probes := []time.Time{times[0].Add(-time.Hour), times[len(times)-1].Add(time.Hour)}
		for _, at := range times {
			probes = append(probes, at, at.Add(1), at.Add(-1))
		}
		for _, probe := range probes {
			want := trimmed
			for i, at := range times {
				if at.Before(probe) {
					want = trimmed + eventlog.Position(i+1)
				}
			}
			if got, err := log.Seek(t.Context(), probe); err != nil || got != want {
				t.Errorf("Seek(%v) = %d, %v, want %d", probe, got, err, want)
			}
		}
	}
	check()
	if err := log.Trim(t.Context(), 30); err != nil {
		t.Fatal(err)
	}
	check()
}

func testStats(t *testing.T, h Harness) {
	log := open(t, h)
	appendBodies(t, log, 1, 10)
	want := eventlog.Stats{Bounds: eventlog.Bounds{Trimmed: 4, Head: 10}}
	for record, err := range log.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case record.Position < 5:
			continue
		case record.Position == 5:
			want.EarliestTime = record.ReceiveTime()
		}
		want.HeadTime = record.ReceiveTime()
		want.Bytes += uint64(record.Size())
	}
	if err := log.Trim(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	got, err := log.Stats(t.Context())
	if err != nil {
		t.Fatalf("Stats() = %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Stats() (-want +got):\n%s", diff)
	}
}

func wantTrimmed(t *testing.T, err error, after, trimmed eventlog.Position) {
	t.Helper()
	var got *eventlog.TrimmedError
	if !errors.As(err, &got) {
		t.Fatalf("got %v, want a TrimmedError", err)
	}
	if diff := cmp.Diff(&eventlog.TrimmedError{After: after, Trimmed: trimmed}, got); diff != "" {
		t.Errorf("TrimmedError (-want +got):\n%s", diff)
	}
}

func testTrim(t *testing.T, h Harness) {
	log := open(t, h)
	appendBodies(t, log, 1, 100)
	for _, upTo := range []eventlog.Position{0, 10, 5, 60, 60} {
		if err := log.Trim(t.Context(), upTo); err != nil {
			t.Fatalf("Trim(%d) = %v", upTo, err)
		}
	}
	wantBounds(t, log, 60, 100)
	for _, after := range []eventlog.Position{0, 59} {
		events, err := read(t.Context(), log, after)
		wantTrimmed(t, err, after, 60)
		wantEvents(t, events, nil)
	}
	wantEvents(t, mustRead(t, log, 60), bodies(61, 100))
}

func testTrimAll(t *testing.T, h Harness) {
	log := h.Open(t)
	appendBodies(t, log, 1, 10)
	last := receiveTimes(t, log)[9]
	if err := log.Trim(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	wantBounds(t, log, 10, 10)
	mustClose(t, log)

	log = open(t, h)
	wantBounds(t, log, 10, 10)
	_, err := read(t.Context(), log, 9)
	wantTrimmed(t, err, 9, 10)
	wantEvents(t, mustRead(t, log, 10), nil)
	stats, err := log.Stats(t.Context())
	if err != nil || stats != (eventlog.Stats{Bounds: eventlog.Bounds{Trimmed: 10, Head: 10}}) {
		t.Errorf("Stats() = %+v, %v, want no events", stats, err)
	}
	if position, err := log.Seek(t.Context(), last); err != nil || position != 10 {
		t.Errorf("Seek() = %d, %v, want 10", position, err)
	}
	appendBodies(t, log, 11, 12)
	wantEvents(t, mustRead(t, log, 10), bodies(11, 12))
	if first := receiveTimes(t, log)[0]; first.Before(last) {
		t.Errorf("event 11 was received at %v, before event 10 at %v", first, last)
	}
}

func testReadDuringTrim(t *testing.T, h Harness) {
	log := h.Open(t)
	const events = 400
	appendBodies(t, log, 1, events)
	mustClose(t, log)
	log = open(t, h) // so that reads come from where the engine stores

	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for log.Bounds().Trimmed < events {
				after := log.Bounds().Trimmed
				next := after + 1
				for record, err := range log.Read(t.Context(), after) {
					if trimmed := (*eventlog.TrimmedError)(nil); errors.As(err, &trimmed) {
						if trimmed.Trimmed < next {
							t.Errorf("event %d is not trimmed, and was refused: %v", next, err)
						}
						break
					}
					if err != nil {
						t.Errorf("Read(%d) = %v", after, err)
						return
					}
					if record.Position != next {
						t.Errorf("event %d came, want %d", record.Position, next)
						return
					}
					next++
				}
			}
		})
	}
	for upTo := eventlog.Position(10); upTo <= events; upTo += 10 {
		if err := log.Trim(t.Context(), upTo); err != nil {
			t.Errorf("Trim(%d) = %v", upTo, err)
		}
	}
	group.Wait()
}
