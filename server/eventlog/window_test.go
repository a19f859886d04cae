package eventlog

import (
	"sync"
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

func liveRecord(t testing.TB, p Position) Record {
	t.Helper()
	entry, err := NewEntry(&webhookgatewayv1.Event{ClientId: "client", RawBody: make([]byte, 100)})
	if err != nil {
		t.Fatal(err)
	}
	record, err := ParseRecord(p, entry.Complete(time.Unix(int64(p), 0), Totals{}, false, 7), true)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// wantWindow checks that a window holds the records from first to last.
func wantWindow(t *testing.T, w *Window, first, last Position) {
	t.Helper()
	dst := make([]Record, 1000)
	if n := w.Read(first-1, last+10, 1<<30, dst); n != int(last-first+1) {
		t.Fatalf("Read(%d) = %d records, want those up to %d", first-1, n, last)
	}
	for p := first; p <= last; p++ {
		if r := dst[p-first]; r.Position != p || r.ReceiveTime() != time.Unix(int64(p), 0) || !r.Live {
			t.Errorf("record %d has position %d", p, r.Position)
		}
	}
	if n := w.Read(last, last+10, 1<<30, dst); n != 0 {
		t.Errorf("Read(%d) = %d records, want none", last, n)
	}
	if first > 1 {
		if n := w.Read(first-2, last, 1<<30, dst); n != 0 {
			t.Errorf("Read(%d) = %d records, want none: the first is not held", first-2, n)
		}
	}
}

func TestWindow(t *testing.T) {
	size := liveRecord(t, 1).Size() + recordOverhead
	w := NewWindow(100 * size)
	dst := make([]Record, 10)
	if n := w.Read(0, 10, 1<<30, dst); n != 0 {
		t.Errorf("Read() of an empty window = %d records", n)
	}
	w.Append(nil)
	for p := Position(1); p <= 250; p++ {
		w.Append([]Record{liveRecord(t, p)})
		wantWindow(t, w, max(1, p-min(p, 100)+1), p)
	}
	if n := w.Read(160, 165, 1<<30, dst); n != 5 {
		t.Errorf("Read() up to a position = %d records, want 5", n)
	}
	if n := w.Read(160, 250, 1<<30, dst); n != len(dst) {
		t.Errorf("Read() = %d records, want as many as fit", n)
	}
	if n := w.Read(160, 250, 3*liveRecord(t, 1).Size(), dst); n != 3 {
		t.Errorf("Read() of the bytes of 3 = %d records", n)
	}
	if n := w.Read(160, 250, 1, dst); n != 1 {
		t.Errorf("Read() of too few bytes = %d records, want 1", n)
	}
	w.Trim(200)
	wantWindow(t, w, 201, 250)
	w.Trim(100)
	wantWindow(t, w, 201, 250)
	w.Append([]Record{liveRecord(t, 300), liveRecord(t, 301)}) // after a hole
	wantWindow(t, w, 300, 301)
	w.Trim(1000)
	if n := w.Read(300, 400, 1<<30, dst); n != 0 {
		t.Errorf("Read() after Trim() = %d records", n)
	}
	w.Append([]Record{liveRecord(t, 302)})
	wantWindow(t, w, 302, 302)
}

func TestWindowSmallerThanARecord(t *testing.T) {
	w := NewWindow(10)
	w.Append([]Record{liveRecord(t, 1)})
	if n := w.Read(0, 1, 1<<30, make([]Record, 1)); n != 0 {
		t.Errorf("Read() = %d records, want none", n)
	}
	w.Append([]Record{liveRecord(t, 2)})
}

func TestWindowConcurrently(t *testing.T) {
	w := NewWindow(50 * (liveRecord(t, 1).Size() + recordOverhead))
	const last = 2000
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			dst := make([]Record, 16)
			for after := Position(0); after < last; {
				n := w.Read(after, last, 1<<30, dst)
				for i, r := range dst[:n] {
					if want := after + 1 + Position(i); r.Position != want {
						t.Errorf("record %d, want %d", r.Position, want)
					}
				}
				after++
			}
		})
	}
	for p := Position(1); p <= last; p++ {
		w.Append([]Record{liveRecord(t, p)})
		if p%100 == 0 {
			w.Trim(p - 10)
		}
	}
	group.Wait()
}

func TestWindowIsResized(t *testing.T) {
	size := liveRecord(t, 1).Size() + recordOverhead
	w := NewWindow(100 * size)
	for p := Position(1); p <= 10; p++ {
		w.Append([]Record{liveRecord(t, p)})
	}
	w.Resize(3 * size)
	wantWindow(t, w, 8, 10)
	w.Resize(0)
	w.Append([]Record{liveRecord(t, 11)})
	if n := w.Read(10, 11, 1<<30, make([]Record, 10)); n != 0 {
		t.Errorf("a window without room holds %d records", n)
	}
	w.Resize(2 * size)
	for p := Position(12); p <= 14; p++ {
		w.Append([]Record{liveRecord(t, p)})
	}
	wantWindow(t, w, 13, 14)
}
