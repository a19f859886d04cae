package webhook

import (
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
)

// What was taken is given back, whoever took it in whatever order.
func TestBudgetComesBack(t *testing.T) {
	t.Parallel()
	b := newBudget(1000)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 1000 {
				s := share{budget: b, client: clientKey{1, string(rune('a' + i%3))}, waiting: i%4 == 0}
				if i%2 == 0 {
					s.source = sourceNetwork(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
				}
				for range 5 {
					_ = s.take(100) // whether there is room does not matter
				}
				s.release()
			}
		})
	}
	group.Wait()
	if len(b.tallies) != 0 {
		t.Errorf("bytes are held, by %v", b.tallies)
	}
}

// The large bodies of one client come at a rate of their own, together, and wait for
// nobody else's.
func TestLargeBodiesArePaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(1 << 30)
		began := time.Now()
		read := func(client string, bodies, size int) *sync.WaitGroup {
			var group sync.WaitGroup
			for range bodies {
				group.Go(func() {
					s := share{budget: b, client: clientKey{1, client}}
					defer s.release()
					if err := s.take(int64(size)); err != nil {
						t.Error(err)
					}
					for range size / readBytes {
						s.pace(readBytes)
					}
				})
			}
			return &group
		}
		crowd, other := read("a", 8, 17<<20), read("b", 1, 33<<20)
		other.Wait()
		if took := time.Since(began); took.Round(time.Millisecond) != time.Second/2 {
			t.Errorf("33 MiB of a client alone took %v, want those after the first at 64 MiB a second", took)
		}
		crowd.Wait()
		if took := time.Since(began); took < 2*time.Second {
			t.Errorf("136 MiB of one client took %v", took)
		}
		if len(b.paces) != 0 {
			t.Errorf("the paces of %d clients are kept", len(b.paces))
		}
	})
}

func TestSourceNetwork(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{"192.0.2.1": "192.0.2.1/32", "2001:db8:1:2:3::4": "2001:db8:1:2::/64"} {
		if got := sourceNetwork(netip.MustParseAddr(source)).String(); got != want {
			t.Errorf("%s: %s, want %s", source, got, want)
		}
	}
	if sourceNetwork(netip.Addr{}).IsValid() {
		t.Error("an unknown source is one")
	}
}

// What a body takes once decoded is within what it is charged with, also for bodies
// made to take much.
func TestDecodedBytesAreCharged(t *testing.T) {
	off := provider.ModeOff
	p, err := finicity.New(finicity.Config{Enabled: true, Clients: map[string]finicity.ClientConfig{"c": {Verification: &off}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"empty accounts": `{"eventType":"added","payload":{"accounts":[` + strings.Repeat("{},", 200_000) + `{}]}}`,
		"empty values":   `{"eventType":"done","payload":{"a":[` + strings.Repeat("{},", 200_000) + `{}]}}`,
		"nested lists":   `{"eventType":"done","payload":{"a":[` + strings.Repeat("[[[[]]]],", 50_000) + `[]]}}`,
		"unknown fields": `{` + strings.Repeat(`"a":1,`, 100_000) + `"eventType":"done"}`,
		"one long text":  `{"eventType":"done","payload":{"a":"` + strings.Repeat("x", 1<<20) + `"}}`,
	} {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		decoded, err := p.Decode([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		took := int64(after.HeapAlloc) - int64(before.HeapAlloc)
		if charged := decodedBytes([]byte(body)); took > charged {
			t.Errorf("%s: %d bytes take %d once decoded, and are charged with %d", name, len(body), took, charged)
		}
		t.Logf("%s: %d bytes, %d decoded, %d encoded", name, len(body), took, proto.Size(decoded.Event))
	}
}
