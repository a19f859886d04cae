package eventlog

import (
	"errors"
	"math"
	"net/url"
	"strings"
	"testing"
)

func TestTokens(t *testing.T) {
	log := NewID()
	for _, p := range []Position{0, 1, 255, 1 << 40, math.MaxUint64} {
		cursor, id := FormatCursor(log, p), FormatEventID(log, p)
		if gotLog, got, err := ParseCursor(cursor); err != nil || gotLog != log || got != p {
			t.Errorf("ParseCursor(%q) = %v, %d, %v", cursor, gotLog, got, err)
		}
		if gotLog, got, err := ParseEventID(id); err != nil || gotLog != log || got != p {
			t.Errorf("ParseEventID(%q) = %v, %d, %v", id, gotLog, got, err)
		}
		if url.QueryEscape(cursor) != cursor || !strings.HasPrefix(cursor, "c") || !strings.HasPrefix(id, "e") {
			t.Errorf("cursor %q, event id %q: want URL-safe ones that begin with c and e", cursor, id)
		}
		if _, _, err := ParseCursor(id); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseCursor() of an event id = %v", err)
		}
		if _, _, err := ParseEventID(cursor); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseEventID() of a cursor = %v", err)
		}
	}
}

func TestMalformedTokens(t *testing.T) {
	good := FormatCursor(ID{1, 2, 3}, 1000)
	bad := []string{"", "c", good + "A", good[1:], good[:27] + "=", good[:27] + "\n", strings.Repeat(" ", 28)}
	for i := range good { // one character is another
		other := byte('A')
		if good[i] == other {
			other = 'B'
		}
		bad = append(bad, good[:i]+string(other)+good[i+1:])
	}
	for _, cursor := range bad {
		if _, _, err := ParseCursor(cursor); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseCursor(%q) = %v, want ErrMalformed", cursor, err)
		}
	}
}

// FuzzParseCursor checks that what is accepted is what the gateway makes of it.
func FuzzParseCursor(f *testing.F) {
	f.Add("")
	f.Add(FormatCursor(ID{1}, 1))
	f.Add(FormatEventID(ID{1}, 1))
	f.Fuzz(func(t *testing.T, s string) {
		if log, p, err := ParseCursor(s); err == nil && FormatCursor(log, p) != s {
			t.Errorf("ParseCursor(%q) accepts what FormatCursor does not make", s)
		} else if err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseCursor(%q) = %v", s, err)
		}
		if log, p, err := ParseEventID(s); err == nil && FormatEventID(log, p) != s {
			t.Errorf("ParseEventID(%q) accepts what FormatEventID does not make", s)
		}
	})
}

// FuzzCursor checks that every cursor decodes to what was encoded, and with one
// character changed is refused.
func FuzzCursor(f *testing.F) {
	f.Add([]byte("12345678"), uint64(1), uint8(0), byte('x'))
	f.Fuzz(func(t *testing.T, id []byte, p uint64, index uint8, other byte) {
		var log ID
		copy(log[:], id)
		cursor := FormatCursor(log, Position(p))
		if gotLog, got, err := ParseCursor(cursor); err != nil || gotLog != log || got != Position(p) {
			t.Errorf("ParseCursor(%q) = %v, %d, %v", cursor, gotLog, got, err)
		}
		changed := []byte(cursor)
		changed[int(index)%len(changed)] = other
		if _, _, err := ParseCursor(string(changed)); err == nil && string(changed) != cursor {
			t.Errorf("ParseCursor(%q) accepts %q changed", changed, cursor)
		}
	})
}
