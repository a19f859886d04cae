package refusals

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/testing/protocmp"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

const (
	mismatch = webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISMATCH
	unknown  = webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_UNKNOWN
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ring opens a ring that stores at once, and tries again soon.
func ring(t *testing.T, disk vfs.FS, path string) *Ring {
	t.Helper()
	r := open(disk, path, slog.New(slog.NewTextHandler(t.Output(), nil)), time.Millisecond, time.Millisecond)
	t.Cleanup(r.Close)
	return r
}

// end closes a ring, and waits until it has stored everything, for which Close has a second.
func end(t *testing.T, r *Ring) {
	t.Helper()
	r.Close()
	select {
	case <-r.ended:
	case <-time.After(time.Minute):
		t.Fatal("the ring does not end")
	}
}

func from(address string, reason webhookgatewayv1.ErrorReason, clientID string) Delivery {
	return Delivery{
		Reason: reason, HTTPStatus: 401, Message: "the signature is wrong", Provider: webhookgatewayv1.Provider_PROVIDER_FINICITY,
		ClientID: clientID, Source: netip.MustParseAddr(address), BodyBytes: 10,
		Trace: &webhookgatewayv1.TraceContext{Traceparent: "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"},
	}
}

func all(r *Ring) []*webhookgatewayv1.Refusal {
	list, _ := r.List(Filter{}, 0, 100*MaxPerReason)
	return list
}

func clients(list []*webhookgatewayv1.Refusal) string {
	var ids []string
	for _, one := range list {
		ids = append(ids, fmt.Sprintf("%s*%d", one.GetClientId(), one.GetCount()))
	}
	return strings.Join(ids, " ")
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	end := time.After(time.Minute)
	for !condition() {
		select {
		case <-time.After(time.Millisecond):
		case <-end:
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// Deliveries that are refused alike are one entry, in the order in which they came last.
func TestAlikeIsOne(t *testing.T) {
	r := ring(t, nil, "")
	before := time.Now()
	r.Record(from("192.0.2.1", mismatch, "a"))
	r.Record(from("192.0.2.1", mismatch, "b"))
	r.Record(from("192.0.2.2", mismatch, "a"))
	r.Record(from("192.0.2.1", unknown, "a"))
	other := from("192.0.2.1", mismatch, "a")
	other.BodyBytes, other.Trace = -1, nil
	r.Record(other)
	list := all(r)
	if got := clients(list); got != "a*2 a*1 a*1 b*1" {
		t.Fatalf("listed are %s", got)
	}
	first := list[0]
	if first.GetFirstTime().AsTime().Before(before) || first.GetLastTime().AsTime().Before(first.GetFirstTime().AsTime()) || time.Since(first.GetLastTime().AsTime()) < 0 {
		t.Errorf("the times are %v and %v", first.GetFirstTime(), first.GetLastTime())
	}
	first.FirstTime, first.LastTime = nil, nil
	want := &webhookgatewayv1.Refusal{
		Reason: mismatch, HttpStatus: 401, Message: "the signature is wrong", Provider: webhookgatewayv1.Provider_PROVIDER_FINICITY,
		ClientId: "a", SourceAddress: "192.0.2.1", Count: 2, BodyBytes: -1, // of the newest
	}
	if diff := cmp.Diff(want, first, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, test := range []struct {
		filter Filter
		want   string
	}{
		{Filter{Reasons: []webhookgatewayv1.ErrorReason{unknown}}, "a*1"},
		{Filter{ClientIDs: []string{"b", "c"}}, "b*1"},
		{Filter{Providers: []webhookgatewayv1.Provider{webhookgatewayv1.Provider_PROVIDER_UNSPECIFIED}}, ""},
		{Filter{Providers: []webhookgatewayv1.Provider{webhookgatewayv1.Provider_PROVIDER_FINICITY}, ClientIDs: []string{"b"}}, "b*1"},
	} {
		if list, next := r.List(test.filter, 0, 10); clients(list) != test.want || next != 0 {
			t.Errorf("%v: %s, want %s", test.filter, clients(list), test.want)
		}
	}
}

// While pages are turned, what comes, and what comes again, is no part of later pages.
func TestPages(t *testing.T) {
	r := ring(t, nil, "")
	for i := range 5 {
		r.Record(from("192.0.2.1", mismatch, fmt.Sprint(i)))
	}
	first, next := r.List(Filter{}, 0, 2)
	r.Record(from("192.0.2.1", mismatch, "4"))
	r.Record(from("192.0.2.1", mismatch, "new"))
	second, next2 := r.List(Filter{}, next, 2)
	third, last := r.List(Filter{}, next2, 2)
	if got := clients(first) + ", " + clients(second) + ", " + clients(third); got != "4*1 3*1, 2*1 1*1, 0*1" || last != 0 {
		t.Errorf("the pages are %s", got)
	}
}

// A flood is bounded, and pushes out neither what was refused for another reason nor what came
// from elsewhere.
func TestFloodPushesOutItself(t *testing.T) {
	r := ring(t, nil, "")
	r.Record(from("192.0.2.1", unknown, "typo"))
	r.Record(from("2001:db8:1::1", unknown, "typo"))
	r.Record(from("192.0.2.1", mismatch, "a"))
	for i := range 10 * MaxPerReason {
		r.Record(from("198.51.100.7", unknown, fmt.Sprint("made-up-", i)))
		r.Record(from(fmt.Sprintf("2001:db8:2::%x", i+1), unknown, "one-of-a-network"))
	}
	list, _ := r.List(Filter{Reasons: []webhookgatewayv1.ErrorReason{unknown}}, 0, 100*MaxPerReason)
	if len(list) != MaxPerReason {
		t.Errorf("%d entries, want %d", len(list), MaxPerReason)
	}
	if got := clients(list[len(list)-2:]); got != "typo*1 typo*1" {
		t.Errorf("those from elsewhere are %s", got)
	}
	if list, _ := r.List(Filter{ClientIDs: []string{"a"}}, 0, 1); len(list) != 1 {
		t.Error("that for another reason is gone")
	}
	if n := len(r.reasons[unknown].all); n != 4 {
		t.Errorf("%d networks, want 4", n)
	}
	for i := range 2 * MaxPerReason { // more networks than entries
		r.Record(from(fmt.Sprintf("203.0.%d.%d", i/256, i%256), unknown, "botnet"))
	}
	if n := r.reasons[unknown]; len(n.all) > MaxPerReason || len(n.wider) > len(widerBits)*MaxPerReason {
		t.Errorf("%d networks, in %d wider ones, of %d entries", len(n.all), len(n.wider), MaxPerReason)
	}
}

// Texts that strangers make up are bounded, and valid.
func TestTextsAreClipped(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "r")
	r := ring(t, vfs.Default, folder)
	d := from("192.0.2.1", unknown, strings.Repeat("ä", 1000)+"\xff")
	d.Message = strings.Repeat("\xff", 1<<20) + "m"
	r.Record(d)
	d.ClientID, d.Source = "\xc3\x28", netip.Addr{}
	r.Record(d)
	end(t, r)
	list := all(ring(t, vfs.Default, folder))
	if len(list) != 2 {
		t.Fatalf("stored are %v", list)
	}
	for _, one := range list {
		if len(one.GetClientId()) > maxClientID || len(one.GetMessage()) > maxMessage || !utf8.ValidString(one.GetClientId()+one.GetMessage()) {
			t.Errorf("the client is %q, the message %q", one.GetClientId(), one.GetMessage())
		}
	}
}

// A restart forgets nothing: neither the entries nor their order, nor that they were bounded.
func TestRestart(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "gateway", "refusals")
	r := ring(t, vfs.Default, folder)
	for i := range MaxPerReason + 10 {
		r.Record(from("192.0.2.1", mismatch, fmt.Sprint(i)))
	}
	for range 3 {
		r.Record(from("192.0.2.1", mismatch, "100"))
	}
	before := all(r)
	_, token := r.List(Filter{}, 0, 10)
	end(t, r)
	r = ring(t, vfs.Default, folder)
	if diff := cmp.Diff(before, all(r), protocmp.Transform()); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
	if page, _ := r.List(Filter{}, token, 1); page[0].GetClientId() != before[10].GetClientId() {
		t.Errorf("a page token from before the restart gives %v", page)
	}
	r.Record(from("192.0.2.1", mismatch, "100"))
	if first := all(r)[0]; first.GetCount() != 5 {
		t.Errorf("what came again has the count %d, want 5", first.GetCount())
	}
	err := filepath.WalkDir(filepath.Dir(folder), func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", name, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// The file is bounded, however long a flood lasts.
func TestFileIsBounded(t *testing.T) {
	disk := vfs.NewMem()
	r := ring(t, disk, "/r")
	flooding := from("192.0.2.1", mismatch, "a")
	flooding.Message = strings.Repeat("m", maxMessage)
	most := int64(0)
	for i := range 300 {
		for c := range 20 {
			flooding.ClientID = fmt.Sprint(c)
			r.Record(flooding)
		}
		eventually(t, "they are stored", func() bool { _, some := r.unstored(false); return !some })
		if i%10 == 0 {
			info, err := disk.Stat("/r/" + fileName)
			if err != nil {
				t.Fatal(err)
			}
			most = max(most, info.Size())
		}
	}
	if most > 2*spareBytes || most < spareBytes/2 {
		t.Errorf("the file had up to %d bytes", most)
	}
	if got := all(r); len(got) != 20 || got[0].GetCount() != 300 {
		t.Errorf("%s", clients(got))
	}
}

// What a power failure leaves has all but the last second.
func TestPowerFailure(t *testing.T) {
	disk := vfs.NewCrashableMem()
	r := ring(t, disk, "/r")
	for i := range 3 {
		r.Record(from("192.0.2.1", mismatch, fmt.Sprint(i)))
		eventually(t, "it is stored", func() bool { _, some := r.unstored(false); return !some })
	}
	crashed := disk.CrashClone(vfs.CrashCloneCfg{})
	if got := clients(all(ring(t, crashed, "/r"))); got != "2*1 1*1 0*1" {
		t.Errorf("after the failure there are %s", got)
	}
}

// Whatever was done to the file, the ring opens, has what comes before the damage, keeps the
// file, and goes on.
func TestDamagedFile(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good")
	r := ring(t, vfs.Default, good)
	for i := range 3 {
		r.Record(from("192.0.2.1", mismatch, fmt.Sprint(i)))
	}
	end(t, r)
	whole, err := os.ReadFile(filepath.Join(good, fileName))
	if err != nil {
		t.Fatal(err)
	}
	length := len(whole) / 3
	for name, damaged := range map[string][]byte{
		"empty":                  {},
		"cut within a head":      whole[:length+3],
		"cut within an entry":    whole[:2*length-1],
		"zeros at its end":       append(bytes.Clone(whole[:length]), make([]byte, 4096)...),
		"a bit flipped":          append(append(bytes.Clone(whole[:2*length-9]), whole[2*length-9]^4), whole[2*length-8:]...),
		"a length of gigabytes":  append(bytes.Clone(whole[:length]), bytes.Repeat([]byte{0xff}, 100)...),
		"something else at once": []byte("this is no file of refusals"),
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, fileName), damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			r := ring(t, vfs.Default, folder)
			want := min(len(damaged)/length, 1)
			if name == "something else at once" {
				want = 0
			}
			if got := all(r); len(got) != want {
				t.Errorf("there are %s, want %d", clients(got), want)
			}
			r.Record(from("192.0.2.1", mismatch, "new"))
			end(t, r)
			if kept, err := os.ReadFile(filepath.Join(folder, damagedName)); len(damaged) > 0 && !bytes.Equal(kept, damaged) {
				t.Errorf("set aside are %d bytes: %v", len(kept), err)
			}
			if got := all(ring(t, vfs.Default, folder)); len(got) != want+1 || r.Err() != nil {
				t.Errorf("afterwards there are %s; %v", clients(got), r.Err())
			}
		})
	}
}

// A disk that fails costs nothing but that a restart forgets: refusals go on being kept in
// memory, and are stored when the disk works again.
func TestDiskThatFails(t *testing.T) {
	for _, failing := range []string{"create", "write", "sync", "rename"} {
		t.Run(failing, func(t *testing.T) {
			inner := vfs.NewMem()
			var broken atomic.Bool
			disk := errorfs.Wrap(inner, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if broken.Load() && map[string]bool{
					"create": op.Kind == errorfs.OpCreate, "write": op.Kind == errorfs.OpFileWrite,
					"sync": op.Kind == errorfs.OpFileSync, "rename": op.Kind == errorfs.OpRename || op.Kind == errorfs.OpFileWrite,
				}[failing] {
					return syscall.ENOSPC
				}
				return nil
			}))
			r := ring(t, disk, "/r")
			if failing == "rename" || failing == "write" || failing == "sync" {
				r.Record(from("192.0.2.1", mismatch, "before"))
				eventually(t, "it is stored", func() bool { _, some := r.unstored(false); return !some })
			}
			broken.Store(true)
			r.Record(from("192.0.2.1", mismatch, "while"))
			eventually(t, "the failure is told", func() bool { return r.Err() != nil })
			if got := clients(all(r)); !strings.HasPrefix(got, "while*1") {
				t.Errorf("while it fails there are %s", got)
			}
			broken.Store(false)
			eventually(t, "it works again", func() bool { return r.Err() == nil })
			want := clients(all(r))
			end(t, r)
			if got := clients(all(ring(t, inner, "/r"))); got != want {
				t.Errorf("after a restart there are %s, want %s", got, want)
			}
		})
	}
}

// A disk that hangs holds up neither the start, nor a delivery, nor the end for long; what
// comes meanwhile is added to what is on it.
func TestDiskThatHangs(t *testing.T) {
	inner := vfs.NewMem()
	r := ring(t, inner, "/r")
	r.Record(from("192.0.2.1", mismatch, "a"))
	end(t, r)
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	defer free()
	disk := errorfs.Wrap(inner, errorfs.InjectorFunc(func(errorfs.Op) error {
		<-release
		return nil
	}))
	begun := time.Now()
	r = ring(t, disk, "/r")
	for range 1000 {
		r.Record(from("192.0.2.1", mismatch, "a"))
	}
	if got := clients(all(r)); got != "a*1000" {
		t.Errorf("while the disk hangs there are %s", got)
	}
	free()
	eventually(t, "what is on the disk is added", func() bool { return clients(all(r)) == "a*1001" })
	end(t, r)
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	if got := clients(all(ring(t, inner, "/r"))); got != "a*1001" {
		t.Errorf("after a restart there are %s", got)
	}
}

// BenchmarkRecord is what a refusal costs the delivery that is refused: one like those before,
// and one of a flood of others.
func BenchmarkRecord(b *testing.B) {
	for _, bench := range []struct {
		name    string
		clients int
	}{{"alike", 1}, {"all different", 1 << 20}} {
		b.Run(bench.name, func(b *testing.B) {
			r := Open(b.TempDir(), slog.New(slog.DiscardHandler))
			defer r.Close()
			ids := make([]string, bench.clients)
			for i := range ids {
				ids[i] = fmt.Sprint("client-", i)
			}
			d := from("192.0.2.1", mismatch, "")
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				d.ClientID = ids[i%len(ids)]
				r.Record(d)
			}
		})
	}
}
