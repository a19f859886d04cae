package webhook

import (
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
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

// Each share has a limit of its own, and who has used up one is not refused for another.
func TestShares(t *testing.T) {
	t.Parallel()
	const kib, limit = 1 << 10, 1 << 20
	type delivery struct {
		client, source string
		size           int64
	}
	small, large := int64(smallDelivery), int64(128*kib)
	for name, test := range map[string]struct {
		held    []delivery
		refused delivery
		taken   []delivery
	}{
		"small ones of a client": {
			held:    slices.Repeat([]delivery{{"a", "", small}}, 4),
			refused: delivery{"a", "", 1},
			taken:   []delivery{{"a", "", large}, {"b", "", small}},
		},
		"large ones of a client": {
			held:    slices.Repeat([]delivery{{"a", "", large}}, 4),
			refused: delivery{"a", "", large},
			taken:   []delivery{{"a", "", small}, {"b", "", large}},
		},
		"a source": {
			held:    []delivery{{"a", "192.0.2.1", large}, {"b", "192.0.2.1", large}},
			refused: delivery{"c", "192.0.2.1", 1},
			taken:   []delivery{{"c", "192.0.2.2", large}, {"c", "", large}},
		},
		"all": {
			held: slices.Concat(
				slices.Repeat([]delivery{{"a", "", large}}, 4), slices.Repeat([]delivery{{"b", "", large}}, 4)),
			refused: delivery{"c", "", 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBudget(limit)
			take := func(d delivery) (share, error) {
				source, _ := netip.ParseAddr(d.source) // none: not known
				s := share{budget: b, client: clientKey{1, d.client}, source: sourceNetwork(source)}
				return s, s.take(d.size)
			}
			for _, d := range test.held {
				if _, err := take(d); err != nil {
					t.Fatalf("%+v: %v", d, err)
				}
			}
			if _, err := take(test.refused); rpcerr.Reason(err) != webhookgatewayv1.ErrorReason_ERROR_REASON_OVERLOADED {
				t.Errorf("%+v: %v, want OVERLOADED", test.refused, err)
			}
			for _, d := range test.taken {
				s, err := take(d)
				if err != nil {
					t.Errorf("%+v beside them: %v", d, err)
				}
				s.release()
			}
		})
	}
}

// sender is a delivery whose body is on its way.
func sender(b *budget, client string) *share {
	return &share{budget: b, client: clientKey{1, client}, waiting: true}
}

func mustTake(t *testing.T, s *share, n int64) {
	t.Helper()
	if err := s.take(n); err != nil {
		t.Fatal(err)
	}
}

// A delivery that finds no room even so cuts off nobody: neither in the share that is too
// full, nor in the others.
func TestNobodyMakesRoomInVain(t *testing.T) {
	t.Parallel()
	b := newBudget(1 << 20)
	handled, slow, elsewhere := sender(b, "a"), sender(b, "a"), sender(b, "b")
	mustTake(t, handled, 300<<10)
	if err := handled.arrived(); err != nil {
		t.Fatal(err)
	}
	mustTake(t, slow, 150<<10)
	mustTake(t, elsewhere, 500<<10)
	late := sender(b, "a")
	if err := late.take(250 << 10); rpcerr.Reason(err) != webhookgatewayv1.ErrorReason_ERROR_REASON_OVERLOADED {
		t.Errorf("550 KiB of a half: %v", err)
	}
	for name, s := range map[string]*share{"of the same client": slow, "of another": elsewhere} {
		if s.refusal != nil {
			t.Errorf("the delivery %s was cut off for nothing", name)
		}
	}
	mustTake(t, late, 200<<10) // instead of the slow one
	if slow.refusal == nil || elsewhere.refusal != nil {
		t.Errorf("cut off: %v, of another client %v", slow.refusal, elsewhere.refusal)
	}
	for _, s := range []*share{handled, slow, elsewhere, late} {
		s.release()
	}
	if len(b.tallies) != 0 {
		t.Errorf("bytes are held, by %v", b.tallies)
	}
}

// Who sends a byte of a large body now and then makes room before those who go on sending.
func TestTricklersMakeRoomFirst(t *testing.T) {
	t.Parallel()
	b := newBudget(1 << 20)
	steady, trickler := sender(b, "a"), sender(b, "a")
	for _, s := range []*share{steady, trickler} {
		mustTake(t, s, 200<<10)
	}
	for range 4 {
		steady.pace(readBytes / 2)
		trickler.pace(1)
	}
	mustTake(t, sender(b, "a"), 200<<10)
	if steady.refusal != nil || trickler.refusal == nil {
		t.Errorf("cut off: the steady one %v, the trickler %v", steady.refusal, trickler.refusal)
	}
}

// The memory of large deliveries is given back to the system when there were none for a
// while, and that of small ones is left to the runtime.
func TestMemoryIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(1 << 20)
		var given atomic.Int32
		b.tidy = time.AfterFunc(tidyAfter, func() { given.Add(1) })
		b.tidy.Stop()
		deliver := func(size int64) {
			s := share{budget: b, client: clientKey{1, "a"}}
			if err := s.take(size); err != nil {
				t.Error(err)
			}
			s.release()
		}
		deliver(smallDelivery)
		<-time.After(2 * tidyAfter)
		if given.Load() != 0 {
			t.Error("memory was given back after a small delivery")
		}
		for range 3 {
			deliver(smallDelivery + 1)
			<-time.After(tidyAfter - 1)
			synctest.Wait()
		}
		if given.Load() != 0 {
			t.Error("memory was given back between large deliveries")
		}
		<-time.After(1)
		synctest.Wait()
		if given.Load() != 1 {
			t.Errorf("memory was given back %d times after large deliveries, want once", given.Load())
		}
	})
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
