package sessions

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A script has a letter for each event of a customer, and a digit for so many times ten
// minutes that pass.
var letters = map[byte]eventType{
	's': started, 'i': whole[1], 'a': whole[2], 'p': whole[3], 'A': whole[4], 'd': done,
	'm': firstType + 10, 'f': firstType + 9, // mfa, invalidCredentials
}

// play returns what a script makes, the oldest first, each as its events and its state.
func play(b *book, script string) string {
	seconds := int64(0)
	var texts []string
	for i := range len(script) {
		seconds++
		if script[i] >= '0' && script[i] <= '9' {
			seconds += 600 * int64(script[i]-'0')
			continue
		}
		b.add(keyOf(nil, []byte("client"), []byte("customer")),
			Event{Position: eventlog.Position(i + 1), Type: letters[script[i]], Received: seconds * int64(time.Second)})
	}
	b.expire(seconds*int64(time.Second), 0)
	list := b.before(math.MaxUint64, math.MaxInt32)
	for i := len(list) - 1; i >= 0; i-- {
		text := ""
		for _, e := range list[i].events {
			text += script[e.Position-1 : e.Position]
		}
		texts = append(texts, text+" "+labels[list[i].state])
	}
	return strings.Join(texts, ", ")
}

func newBook(ended map[state]int) *book {
	return &book{
		stalledAfter: 30 * time.Minute, window: 24 * time.Hour, max: 1000, newest: make(map[string]*session),
		ended: func(s state, _ int64) { ended[s]++ },
	}
}

func TestRule(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		"siapAd":   "siapAd done",
		"sia":      "sia open",
		"sia2pAd":  "siapAd done",
		"sia3":     "sia stalled",
		"sia3pAd":  "sia stalled, pAd done",
		"sif3":     "sif failed",
		"sifia3":   "sifia stalled", // the customer tried again
		"sifs":     "sif failed, s open",
		"ssd":      "s stalled, sd done",
		"adi":      "ad done, i open",
		"dd":       "d done, d done",
		"s2m2m2m3": "smmm stalled",
	} {
		if got := play(newBook(make(map[state]int)), script); got != want {
			t.Errorf("%s: %s, want %s", script, got, want)
		}
	}
}

// What is full forgets the oldest, and says since when it has all.
func TestFullBook(t *testing.T) {
	t.Parallel()
	b := newBook(make(map[state]int))
	b.max = 3
	for i := range int64(10) {
		b.add(keyOf(nil, []byte("client"), fmt.Append(nil, i)), Event{Position: eventlog.Position(i + 1), Type: started, Received: i})
	}
	list := b.before(math.MaxUint64, 10)
	if len(list) != 3 || len(b.newest) != 3 || list[2].first() != 8 || b.completeSince != 7 {
		t.Errorf("%d sessions, of %d customers, complete since %d", len(list), len(b.newest), b.completeSince)
	}
}

// Whatever comes, the lists of a book hold the same sessions, and each end is told once.
func TestBookHoldsTogether(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ended := make(map[state]int)
		b := newBook(ended)
		b.max = rapid.IntRange(1, 8).Draw(t, "max")
		now, position, begun := int64(0), eventlog.Position(0), 0
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			now += int64(rapid.SampledFrom([]time.Duration{time.Second, 10 * time.Minute, time.Hour, 20 * time.Hour}).Draw(t, "wait"))
			if rapid.Bool().Draw(t, "expire") {
				b.expire(now, position/2)
				continue
			}
			position++
			key := keyOf(nil, []byte("c"), []byte(rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "customer")))
			before := b.newest[string(key)]
			b.add(key, Event{Position: position, Type: rapid.SampledFrom(types).Draw(t, "type"), Received: now})
			if b.newest[string(key)] != before {
				begun++
			}
			open := 0
			for s := b.quietest; s != nil; s = s.livelier {
				open++
				if s.state != stateOpen || s.livelier != nil && s.livelier.newest.Position < s.newest.Position {
					t.Fatal("the list of those that go on is out of order")
				}
			}
			all := b.before(math.MaxUint64, 100)
			for i, s := range all {
				if s.state == stateOpen {
					open--
				}
				if i > 0 && s.first() >= all[i-1].first() {
					t.Fatal("the sessions are out of order")
				}
			}
			if open != 0 || b.len() > b.max || len(b.newest) > b.len() {
				t.Fatalf("%d sessions too many go on; %d of at most %d sessions, of %d customers", open, b.len(), b.max, len(b.newest))
			}
			if total := ended[stateDone] + ended[stateFailed] + ended[stateStalled]; total > begun {
				t.Fatalf("%d ended, of %d", total, begun)
			}
		}
	})
}
