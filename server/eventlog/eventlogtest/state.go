package eventlogtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
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
		{"concurrent owners have different terms", testStateConcurrentOwners},
		{"delete and read ranges", testStateRanges},
		{"drop", testStateDrop},
		{"commit after drop fails and leaves nothing", testStateCommitAfterDrop},
		{"commits during drop leave nothing", testStateCommitDuringDrop},
		{"acquire after drop begins empty", testStateAcquireAfterDrop},
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
	term, err := s.AcquireScope(t.Context(), scope)
	if err != nil {
		t.Fatalf("AcquireScope(%q) = %v", scope, err)
	}
	return term
}

func mustCommit(t *testing.T, s eventlog.StateStore, scope string, term uint64, mutations ...eventlog.StateMutation) {
	t.Helper()
	if err := s.CommitScope(t.Context(), scope, term, mutations); err != nil {
		t.Fatalf("CommitScope(%q) = %v", scope, err)
	}
}

func wantPairs(t *testing.T, s eventlog.StateStore, scope string, want ...string) {
	t.Helper()
	var got []string
	for pair, err := range s.ReadScope(t.Context(), scope, nil, nil) {
		if err != nil {
			t.Fatalf("ReadScope(%q) = %v", scope, err)
		}
		got = append(got, fmt.Sprintf("%s=%s", pair.Key, pair.Value))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pairs of %q (-want +got):\n%s", scope, diff)
	}
}

func wantScopes(t *testing.T, s eventlog.StateStore, prefix string, want ...string) {
	t.Helper()
	var got []string
	for scope, err := range s.ListScopes(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("ListScopes() = %v", err)
		}
		got = append(got, scope)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("scopes with %q (-want +got):\n%s", prefix, diff)
	}
}

func testStateMutations(t *testing.T, h StateHarness) {
	s := h.Open(t)
	term := mustAcquire(t, s, "a")
	mustCommit(t, s, "a", term, set("2", "two"), set("1", "one"), set("3", ""), set("\x00\xff", "bytes"))
	wantPairs(t, s, "a", "\x00\xff=bytes", "1=one", "2=two", "3=")
	mustCommit(t, s, "a", term, set("1", "uno"), remove("2"), remove("never"), remove("3"), set("3", "last"))
	wantPairs(t, s, "a", "\x00\xff=bytes", "1=uno", "3=last")
}

func testStateScopes(t *testing.T, h StateHarness) {
	s := h.Open(t)
	wantScopes(t, s, "")
	for _, scope := range []string{"b", "a", "ab", "empty"} {
		term := mustAcquire(t, s, scope)
		if scope != "empty" {
			mustCommit(t, s, scope, term, set("key", scope))
		}
	}
	wantScopes(t, s, "", "a", "ab", "b")
	wantScopes(t, s, "a", "a", "ab")
	wantScopes(t, s, "ab", "ab")
	for _, none := range []string{"c", "abc", "\x00", "bb", string(make([]byte, eventlog.MaxScopeLen))} {
		wantScopes(t, s, none)
	}
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
		t.Errorf("term %d after %d, want it larger", second, first)
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
	terms := make([]uint64, 20)
	var group sync.WaitGroup
	for i := range terms {
		group.Go(func() {
			term, err := s.AcquireScope(t.Context(), "a")
			if err != nil {
				t.Errorf("AcquireScope() = %v", err)
			}
			terms[i] = term
		})
	}
	group.Wait()
	seen := make(map[uint64]bool)
	for _, term := range terms {
		if seen[term] {
			t.Errorf("two owners have term %d", term)
		}
		seen[term] = true
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
	wantScopes(t, s, "", "b")
	if again := mustAcquire(t, s, "a"); again <= first {
		t.Errorf("term %d after %d, want it larger", again, first)
	}
}

func testStateRanges(t *testing.T, h StateHarness) {
	s := h.Open(t)
	term := mustAcquire(t, s, "a")
	mustCommit(t, s, "a", term, set("a", "1"), set("b1", "2"), set("b2", "3"), set("c", "4"))
	mustCommit(t, s, "ab", mustAcquire(t, s, "ab"), set("b1", "other"))
	for _, test := range []struct {
		from, to []byte
		want     string
	}{
		{nil, nil, "a b1 b2 c"},
		{[]byte("b"), nil, "b1 b2 c"},
		{nil, []byte("b2"), "a b1"},
		{[]byte("b"), []byte("c"), "b1 b2"},
		{[]byte("b1"), []byte("b1\x00"), "b1"},
		{[]byte("d"), nil, ""},
	} {
		var got []string
		for pair, err := range s.ReadScope(t.Context(), "a", test.from, test.to) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(pair.Key))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("ReadScope(%q, %q) = %v, want %s", test.from, test.to, got, test.want)
		}
	}
	for _, err := range s.ReadScope(t.Context(), "a", nil, nil) {
		if err != nil {
			t.Fatal(err)
		}
		break // the rest is not wanted
	}
	mustCommit(t, s, "a", term, set("b3", "5"), eventlog.StateMutation{Key: []byte("b"), End: []byte("c"), Delete: true}, set("b2", "again"))
	wantPairs(t, s, "a", "a=1", "b2=again", "c=4")
	mustCommit(t, s, "a", term, eventlog.StateMutation{End: []byte{0xff}, Delete: true}, set("z", ""))
	wantPairs(t, s, "a", "z=")
	wantPairs(t, s, "ab", "b1=other")
}

func testStateCommitAfterDrop(t *testing.T, h StateHarness) {
	s := h.Open(t)
	term := mustAcquire(t, s, "a")
	mustCommit(t, s, "a", term, set("1", "one"))
	if err := s.DropScope(t.Context(), "a", term); err != nil {
		t.Fatalf("DropScope() = %v", err)
	}
	if err := s.CommitScope(t.Context(), "a", term, []eventlog.StateMutation{set("2", "two")}); !errors.Is(err, eventlog.ErrScopeLost) {
		t.Errorf("CommitScope() after DropScope() = %v, want ErrScopeLost", err)
	}
	if err := s.DropScope(t.Context(), "a", term); !errors.Is(err, eventlog.ErrScopeLost) {
		t.Errorf("DropScope() after DropScope() = %v, want ErrScopeLost", err)
	}
	wantPairs(t, s, "a")
	wantScopes(t, s, "")
	h.Crash(t)
	s = h.Open(t)
	wantScopes(t, s, "")
	if err := s.CommitScope(t.Context(), "a", term, []eventlog.StateMutation{set("2", "two")}); !errors.Is(err, eventlog.ErrScopeLost) {
		t.Errorf("CommitScope() after DropScope() and a crash = %v, want ErrScopeLost", err)
	}
}

// testStateCommitDuringDrop has commits share a batch with the drop.
func testStateCommitDuringDrop(t *testing.T, h StateHarness) {
	s := h.Open(t)
	for range 20 {
		term := mustAcquire(t, s, "a")
		mustCommit(t, s, "a", term, set("definition", ""))
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				for n := range 20 {
					err := s.CommitScope(t.Context(), "a", term, []eventlog.StateMutation{set(fmt.Sprint(i, n), "")})
					if err != nil {
						if !errors.Is(err, eventlog.ErrScopeLost) {
							t.Errorf("CommitScope() during DropScope() = %v, want ErrScopeLost", err)
						}
						return
					}
				}
			})
		}
		if err := s.DropScope(t.Context(), "a", term); err != nil {
			t.Fatalf("DropScope() = %v", err)
		}
		group.Wait()
		wantPairs(t, s, "a")
		wantScopes(t, s, "")
	}
}

func testStateAcquireAfterDrop(t *testing.T, h StateHarness) {
	s := h.Open(t)
	first := mustAcquire(t, s, "a")
	mustCommit(t, s, "a", first, set("1", "one"))
	if err := s.DropScope(t.Context(), "a", first); err != nil {
		t.Fatalf("DropScope() = %v", err)
	}
	second := mustAcquire(t, s, "a")
	if second <= first {
		t.Errorf("term %d after %d, want it larger", second, first)
	}
	wantPairs(t, s, "a")
	mustCommit(t, s, "a", second, set("2", "two"))
	if err := s.CommitScope(t.Context(), "a", first, []eventlog.StateMutation{set("1", "one")}); !errors.Is(err, eventlog.ErrScopeLost) {
		t.Errorf("CommitScope() of the dropped term = %v, want ErrScopeLost", err)
	}
	wantPairs(t, s, "a", "2=two")
}

func testStateCrash(t *testing.T, h StateHarness) {
	s := h.Open(t)
	term := mustAcquire(t, s, "a")
	for i := range 100 {
		mustCommit(t, s, "a", term, set("counter", fmt.Sprint(i)), set(fmt.Sprintf("key%02d", i), ""))
		mustCommit(t, s, "a", term, remove(fmt.Sprintf("key%02d", i)))
	}
	h.Crash(t)
	s = h.Open(t)
	wantPairs(t, s, "a", "counter=99")
	wantScopes(t, s, "", "a")
	if again := mustAcquire(t, s, "a"); again <= term {
		t.Errorf("term %d after %d, want it larger", again, term)
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
