package eventlog

import (
	"errors"
	"math"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustHistory(t testing.TB, log ID, starts ...EpochStart) *History {
	t.Helper()
	h, err := NewHistory(log, starts...)
	if err != nil {
		t.Fatalf("NewHistory() = %v", err)
	}
	return h
}

func TestTokens(t *testing.T) {
	h := mustHistory(t, NewID(), EpochStart{NewEpoch(), 1}, EpochStart{1, 2}, EpochStart{1<<48 - 1, 256})
	for _, p := range []Position{0, 1, 2, 255, 256, 1 << 40, math.MaxUint64} {
		cursor, id := h.FormatCursor(p), h.FormatEventID(p)
		if got, err := h.ParseCursor(cursor); err != nil || got != p {
			t.Errorf("ParseCursor(%q) = %d, %v, want %d", cursor, got, err, p)
		}
		if got, err := h.ParseEventID(id); err != nil || got != p {
			t.Errorf("ParseEventID(%q) = %d, %v, want %d", id, got, err, p)
		}
		if len(cursor) != 36 || len(id) != 36 {
			t.Errorf("cursor %q, event id %q: want 36 characters", cursor, id)
		}
		if url.QueryEscape(cursor) != cursor || !strings.HasPrefix(cursor, "c") || !strings.HasPrefix(id, "e") {
			t.Errorf("cursor %q, event id %q: want URL-safe ones that begin with c and e", cursor, id)
		}
		if got := string(h.AppendCursor([]byte("before "), p)); got != "before "+cursor {
			t.Errorf("AppendCursor() = %q, want %q appended", got, cursor)
		}
		if _, err := h.ParseCursor(id); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseCursor() of an event id = %v", err)
		}
		if _, err := h.ParseEventID(cursor); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseEventID() of a cursor = %v", err)
		}
	}
}

func TestMalformedTokens(t *testing.T) {
	h := mustHistory(t, ID{1, 2, 3}, EpochStart{7, 1})
	good := h.FormatCursor(1000)
	bad := []string{
		"", "c", good + "A", good[1:], good[:35] + "=", good[:35] + "\n", strings.Repeat(" ", 36),
		string(appendToken(nil, kindCursor, h.log, 0, 1000)), // not in an epoch
		string(appendToken(nil, kindCursor, h.log, 7, 0)),    // before all, and in an epoch
	}
	for i := range good { // one character is another
		other := byte('A')
		if good[i] == other {
			other = 'B'
		}
		bad = append(bad, good[:i]+string(other)+good[i+1:])
	}
	for _, cursor := range bad {
		if _, err := h.ParseCursor(cursor); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseCursor(%q) = %v, want ErrMalformed", cursor, err)
		}
	}
}

// TestHistories parses with one history what another one gave out.
func TestHistories(t *testing.T) {
	log := ID{1}
	ours := mustHistory(t, log, EpochStart{0xa, 1}, EpochStart{0xb, 11}, EpochStart{0xc, 21})
	lost := func(last Position) error { return &HistoryLostError{Last: last} }
	for _, test := range []struct {
		name   string
		theirs *History
		p      Position
		want   error
	}{
		{"the same", ours, 15, nil},
		{"before this log was started again", mustHistory(t, log, EpochStart{0xa, 1}, EpochStart{0xb, 11}), 20, nil},
		{"nothing, of any history", &History{log: log}, 0, nil},
		{"nothing, of another log", &History{log: ID{2}}, 0, ErrAnotherLog},
		{"another log", mustHistory(t, ID{2}, EpochStart{0xa, 1}), 5, ErrAnotherLog},
		{"ahead of the head", mustHistory(t, log, EpochStart{0xa, 1}, EpochStart{0xb, 11}, EpochStart{0xc, 21}), 1 << 50, nil},
		{"the first epoch went on", mustHistory(t, log, EpochStart{0xa, 1}), 11, lost(10)},
		{"the first epoch went on for long", mustHistory(t, log, EpochStart{0xa, 1}), 1000, lost(10)},
		{"the second epoch went on", mustHistory(t, log, EpochStart{0xa, 1}, EpochStart{0xb, 11}), 21, lost(20)},
		{"an epoch that is not known", mustHistory(t, log, EpochStart{0xa, 1}, EpochStart{0xd, 11}), 11, lost(0)},
		{"an epoch that is not known, ahead", mustHistory(t, log, EpochStart{0xa, 1}, EpochStart{0xd, 11}), 1000, lost(0)},
		{"what the parting histories share", mustHistory(t, log, EpochStart{0xa, 1}, EpochStart{0xd, 11}), 10, nil},
		{"an epoch before its beginning", mustHistory(t, log, EpochStart{0xc, 1}), 5, ErrMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			position, cursorErr := ours.ParseCursor(test.theirs.FormatCursor(test.p))
			eventPosition, eventErr := ours.ParseEventID(test.theirs.FormatEventID(test.p))
			want := test.p
			if test.want != nil {
				want = 0
			}
			if position != want || eventPosition != want {
				t.Errorf("positions %d, %d, want %d", position, eventPosition, want)
			}
			for _, err := range []error{cursorErr, eventErr} {
				var lost *HistoryLostError
				if errors.As(test.want, &lost) {
					var got *HistoryLostError
					if !errors.As(err, &got) || *got != *lost {
						t.Errorf("error %v, want %v", err, test.want)
					}
				} else if !errors.Is(err, test.want) {
					t.Errorf("error %v, want %v", err, test.want)
				}
			}
		})
	}
}

// TestLastIsCertain plays copies that are put back and started again and again,
// and checks that no token comes to mean another event, and that two histories
// have the same events up to where an error says so.
func TestLastIsCertain(t *testing.T) {
	type event struct{ origin, number int }
	type copied struct {
		starts []EpochStart
		events []event
	}
	type held struct {
		token  string
		seen   []event
		length Position
	}
	log := NewID()
	for seed := range 300 {
		random := rand.New(rand.NewPCG(uint64(seed), 0))
		var copies []copied
		var tokens []held
		var current copied
		numbers := 0
		for run := range 12 {
			if len(copies) > 0 && random.IntN(3) == 0 {
				current = copies[random.IntN(len(copies))]
			}
			pending := EpochStart{NewEpoch(), Position(len(current.events) + 1)}
			begin := func() { current.starts = append(slices.Clone(current.starts), pending) }
			history := mustHistory(t, log, append(slices.Clone(current.starts), pending)...)
			for _, token := range tokens {
				p, err := history.ParseCursor(token.token)
				var lost *HistoryLostError
				switch {
				case err == nil && int(p) <= len(current.events):
					if p != token.length || !slices.Equal(current.events[:p], token.seen) {
						t.Fatalf("seed %d, run %d: a cursor means other events", seed, run)
					}
				case errors.As(err, &lost):
					if int(lost.Last) > len(current.events) || lost.Last > token.length ||
						!slices.Equal(current.events[:lost.Last], token.seen[:lost.Last]) {
						t.Fatalf("seed %d, run %d: the histories are not the same up to %d", seed, run, lost.Last)
					}
				default:
					t.Fatalf("seed %d, run %d: ParseCursor() = %d, %v", seed, run, p, err)
				}
			}
			for i := range random.IntN(5) {
				if i == 0 {
					begin()
				}
				numbers++
				current.events = append(slices.Clone(current.events), event{run, numbers})
				tokens = append(tokens, held{history.FormatCursor(Position(len(current.events))), current.events, Position(len(current.events))})
				if random.IntN(4) == 0 { // a copy of the running log
					copies = append(copies, current)
				}
			}
			copies = append(copies, current)
		}
	}
}

func TestNewHistoryRefusals(t *testing.T) {
	for name, starts := range map[string][]EpochStart{
		"not from the beginning": {{1, 2}},
		"descending":             {{1, 1}, {2, 5}, {3, 4}},
		"two at one position":    {{1, 1}, {2, 1}},
		"twice":                  {{1, 1}, {2, 5}, {1, 9}},
		"0":                      {{0, 1}},
		"49 bits":                {{1 << 48, 1}},
	} {
		if _, err := NewHistory(ID{}, starts...); err == nil {
			t.Errorf("%s: NewHistory() succeeded", name)
		}
	}
	starts := []EpochStart{{1, 1}, {2, 5}}
	h := mustHistory(t, ID{1}, starts...)
	before := h.FormatCursor(5)
	starts[1].Epoch = 3
	h.Starts()[1].Epoch = 4
	if h.FormatCursor(5) != before || h.Log() != (ID{1}) {
		t.Error("a history changed")
	}
	if diff := cmp.Diff([]EpochStart{{1, 1}, {2, 5}}, h.Starts()); diff != "" {
		t.Errorf("Starts() (-want +got):\n%s", diff)
	}
}

func TestTokensDoNotAllocate(t *testing.T) {
	h := mustHistory(t, NewID(), epochs(10)...)
	buf := make([]byte, 0, tokenLen)
	for _, p := range []Position{1, 5, 10, 1000} {
		if n := testing.AllocsPerRun(100, func() { buf = h.AppendCursor(buf[:0], p) }); n != 0 {
			t.Errorf("AppendCursor(%d) allocates %v times", p, n)
		}
	}
}

// FuzzParseCursor checks that what is accepted is what the gateway makes of it.
func FuzzParseCursor(f *testing.F) {
	h := mustHistory(f, ID{1}, EpochStart{7, 1}, EpochStart{8, 1 << 20})
	f.Add("")
	for _, p := range []Position{0, 1, 1 << 20} {
		f.Add(h.FormatCursor(p))
		f.Add(h.FormatEventID(p))
	}
	f.Fuzz(func(t *testing.T, s string) {
		check := func(what string, p Position, err error, formatted string) {
			t.Helper()
			var lost *HistoryLostError
			switch {
			case err == nil && formatted != s:
				t.Errorf("%s(%q) accepts what is not made", what, s)
			case err != nil && p != 0:
				t.Errorf("%s(%q) = %d with an error", what, s, p)
			case err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrAnotherLog) && !errors.As(err, &lost):
				t.Errorf("%s(%q) = %v", what, s, err)
			}
		}
		p, err := h.ParseCursor(s)
		check("ParseCursor", p, err, h.FormatCursor(p))
		p, err = h.ParseEventID(s)
		check("ParseEventID", p, err, h.FormatEventID(p))
	})
}

// FuzzCursor checks that every cursor decodes to what was encoded, and with one
// character changed is refused.
func FuzzCursor(f *testing.F) {
	f.Add([]byte("12345678"), uint64(1), uint64(7), uint64(9), uint8(0), byte('x'))
	f.Fuzz(func(t *testing.T, id []byte, epoch, next, p uint64, index uint8, other byte) {
		var log ID
		copy(log[:], id)
		h, err := NewHistory(log, EpochStart{Epoch(epoch), 1}, EpochStart{Epoch(epoch ^ 1), Position(next)})
		if err != nil {
			return
		}
		cursor := h.FormatCursor(Position(p))
		if got, err := h.ParseCursor(cursor); err != nil || got != Position(p) {
			t.Errorf("ParseCursor(%q) = %d, %v, want %d", cursor, got, err, p)
		}
		changed := []byte(cursor)
		changed[int(index)%len(changed)] = other
		if _, err := h.ParseCursor(string(changed)); err == nil && string(changed) != cursor {
			t.Errorf("ParseCursor(%q) accepts %q changed", changed, cursor)
		}
	})
}
