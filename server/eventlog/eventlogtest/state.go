package eventlogtest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// StateHarness gives the suite a store of state on storage of its own.
type StateHarness struct {
	// Open opens the store; the suite has at most one open at a time.
	Open func(t *testing.T) eventlog.StateStore
	// Crash ends the open store: only what was durable is there at the next Open.
	Crash func(t *testing.T)
}

// RunState runs the suite of stores of state. newHarness is called for each test.
func RunState(t *testing.T, newHarness func(t *testing.T) StateHarness) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, h StateHarness)
	}{
		{"set and delete", testStateMutations},
		{"scopes do not see each other", testStateScopes},
		{"only the last owner writes", testStateOwner},
		{"concurrent owners have different epochs", testStateConcurrentOwners},
		{"drop", testStateDrop},
		{"what was committed is there after a crash", testStateCrash},
		{"names of scopes", testStateNames},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, newHarness(t))
		})
	}
}

func set(key, value string) eventlog.StateMutation {
	return eventlog.StateMutation{Key: []byte(key), Value: []byte(value)}
}

func remove(key string) eventlog.StateMutation {
	return eventlog.StateMutation{Key: []byte(key), Delete: true}
}

func mustAcquire(t *testing.T, s eventlog.StateStore, scope string) uint64 {
	t.Helper()
	epoch, err := s.AcquireScope(t.Context(), scope)
	if err != nil {
		t.Fatalf("AcquireScope(%q) = %v", scope, err)
	}
	return epoch
}

func mustCommit(t *testing.T, s eventlog.StateStore, scope string, epoch uint64, mutations ...eventlog.StateMutation) {
	t.Helper()
	if err := s.CommitScope(t.Context(), scope, epoch, mutations); err != nil {
		t.Fatalf("CommitScope(%q) = %v", scope, err)
	}
}

func wantPairs(t *testing.T, s eventlog.StateStore, scope string, want ...string) {
	t.Helper()
	var got []string
	for pair, err := range s.LoadScope(t.Context(), scope) {
		if err != nil {
			t.Fatalf("LoadScope(%q) = %v", scope, err)
		}
		got = append(got, fmt.Sprintf("%s=%s", pair.Key, pair.Value))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pairs of %q (-want +got):\n%s", scope, diff)
	}
}

func wantScopes(t *testing.T, s eventlog.StateStore, want ...string) {
	t.Helper()
	var got []string
	for scope, err := range s.ListScopes(t.Context()) {
		if err != nil {
			t.Fatalf("ListScopes() = %v", err)
		}
		got = append(got, scope)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("scopes (-want +got):\n%s", diff)
	}
}

func testStateMutations(t *testing.T, h StateHarness) {
	s := h.Open(t)
	epoch := mustAcquire(t, s, "a")
	mustCommit(t, s, "a", epoch, set("2", "two"), set("1", "one"), set("3", ""), set("\x00\xff", "bytes"))
	wantPairs(t, s, "a", "\x00\xff=bytes", "1=one", "2=two", "3=")
	mustCommit(t, s, "a", epoch, set("1", "uno"), remove("2"), remove("never"), remove("3"), set("3", "last"))
	wantPairs(t, s, "a", "\x00\xff=bytes", "1=uno", "3=last")
}

func testStateScopes(t *testing.T, h StateHarness) {
	s := h.Open(t)
	wantScopes(t, s)
	for _, scope := range []string{"b", "a", "ab", "empty"} {
		epoch := mustAcquire(t, s, scope)
		if scope != "empty" {
			mustCommit(t, s, scope, epoch, set("key", scope))
		}
	}
	wantScopes(t, s, "a", "ab", "b")
	for _, scope := range []string{"a", "b", "ab"} {
		wantPairs(t, s, scope, "key="+scope)
	}
	wantPairs(t, s, "empty")
	wantPairs(t, s, "none")
}

func testStateOwner(t *testing.T, h StateHarness) {
	s := h.Open(t)
	first := mustAcquire(t, s, "a")
	mustCommit(t, s, "a", first, set("k", "1"))
	second := mustAcquire(t, s, "a")
	if second <= first {
		t.Errorf("epoch %d after %d, want it larger", second, first)
	}
	if err := s.CommitScope(t.Context(), "a", first, []eventlog.StateMutation{set("k", "2")}); !errors.Is(err, eventlog.ErrScopeLost) {
		t.Errorf("CommitScope() of an earlier owner = %v, want ErrScopeLost", err)
	}
	if err := s.DropScope(t.Context(), "a", first); !errors.Is(err, eventlog.ErrScopeLost) {
		t.Errorf("DropScope() of an earlier owner = %v, want ErrScopeLost", err)
	}
	wantPairs(t, s, "a", "k=1")
	mustCommit(t, s, "a", second, set("k", "3"))
	wantPairs(t, s, "a", "k=3")
}

func testStateConcurrentOwners(t *testing.T, h StateHarness) {
	s := h.Open(t)
	epochs := make([]uint64, 20)
	var group sync.WaitGroup
	for i := range epochs {
		group.Go(func() {
			epoch, err := s.AcquireScope(t.Context(), "a")
			if err != nil {
				t.Errorf("AcquireScope() = %v", err)
			}
			epochs[i] = epoch
		})
	}
	group.Wait()
	seen := make(map[uint64]bool)
	for _, epoch := range epochs {
		if seen[epoch] {
			t.Errorf("two owners have epoch %d", epoch)
		}
		seen[epoch] = true
	}
}

func testStateDrop(t *testing.T, h StateHarness) {
	s := h.Open(t)
	first := mustAcquire(t, s, "a")
	mustCommit(t, s, "a", first, set("1", "one"), set("2", "two"))
	mustCommit(t, s, "b", mustAcquire(t, s, "b"), set("1", "one"))
	if err := s.DropScope(t.Context(), "a", first); err != nil {
		t.Fatalf("DropScope() = %v", err)
	}
	wantPairs(t, s, "a")
	wantScopes(t, s, "b")
	if again := mustAcquire(t, s, "a"); again <= first {
		t.Errorf("epoch %d after %d, want it larger", again, first)
	}
}

func testStateCrash(t *testing.T, h StateHarness) {
	s := h.Open(t)
	epoch := mustAcquire(t, s, "a")
	for i := range 100 {
		mustCommit(t, s, "a", epoch, set("counter", fmt.Sprint(i)), set(fmt.Sprintf("key%02d", i), ""))
		mustCommit(t, s, "a", epoch, remove(fmt.Sprintf("key%02d", i)))
	}
	h.Crash(t)
	s = h.Open(t)
	wantPairs(t, s, "a", "counter=99")
	wantScopes(t, s, "a")
	if again := mustAcquire(t, s, "a"); again <= epoch {
		t.Errorf("epoch %d after %d, want it larger", again, epoch)
	}
}

func testStateNames(t *testing.T, h StateHarness) {
	s := h.Open(t)
	for _, scope := range []string{"", string(make([]byte, eventlog.MaxScopeLen+1))} {
		if _, err := s.AcquireScope(t.Context(), scope); err == nil {
			t.Errorf("AcquireScope() of a name of %d bytes succeeded", len(scope))
		}
		if err := s.CommitScope(t.Context(), scope, 1, nil); err == nil {
			t.Errorf("CommitScope() of a name of %d bytes succeeded", len(scope))
		}
	}
	mustAcquire(t, s, string(make([]byte, eventlog.MaxScopeLen)))
}
