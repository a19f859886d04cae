package pebblelog

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// clocked is a log with a clock of its own, that can be restarted.
type clocked struct {
	*Log
	clock *testClock
	disk  vfs.FS
	said  bytes.Buffer
}

func newClocked(t *testing.T) *clocked {
	t.Helper()
	c := &clocked{clock: newClock(), disk: vfs.NewMem()}
	c.open(t)
	return c
}

func (c *clocked) open(t *testing.T) {
	t.Helper()
	config := testConfig("log")
	config.Retention.Interval = 1000 * time.Hour // the test enforces it
	logger := slog.New(slog.NewTextHandler(&c.said, &slog.HandlerOptions{Level: slog.LevelInfo}))
	var err error
	if c.Log, err = Open(config, logger, WithFS(c.disk), c.clock.option()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	// The check of the retention that begins with the opening is done before what the
	// test goes on with.
	c.enforce(t)
}

func (c *clocked) enforce(t *testing.T) {
	t.Helper()
	if err := c.enforceRetention(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// off stops the gateway for a time, or until its clock is changed by so much.
func (c *clocked) off(t *testing.T, d time.Duration) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c.clock.jump(d)
	c.open(t)
}

// live has time pass for a running gateway, with an event and a check of the
// retention every hour.
func (c *clocked) live(t *testing.T, d time.Duration) {
	t.Helper()
	for ; d > 0; d -= time.Hour {
		c.clock.advance(min(d, time.Hour))
		mustAppend(t, c.Log, "", "body")
		c.enforce(t)
	}
}

// newest returns when the newest event was received.
func (c *clocked) newest(t *testing.T) time.Time {
	t.Helper()
	for record, err := range c.Read(t.Context(), c.Bounds().Head-1) {
		if err != nil {
			t.Fatal(err)
		}
		return record.ReceiveTime()
	}
	t.Fatal("there is no event")
	return time.Time{}
}

func (c *clocked) wantNewest(t *testing.T, want time.Time) {
	t.Helper()
	mustAppend(t, c.Log, "", "body")
	if got := c.newest(t); !got.Equal(want) {
		t.Errorf("the event was received at %v, want %v", got, want)
	}
}

// TestWrongClockAtStart: a start with a clock that is ten years ahead removes
// nothing, and what is received has the time at which the log was last in use. When
// the clock is corrected all is as before.
func TestWrongClockAtStart(t *testing.T) {
	for name, restart := range map[string]func(*testing.T, *clocked, time.Duration){
		"at a start":   func(t *testing.T, c *clocked, d time.Duration) { t.Helper(); c.off(t, d) },
		"while it ran": func(_ *testing.T, c *clocked, d time.Duration) { c.clock.jump(d) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newClocked(t)
			c.live(t, 10*day)
			for _, wrong := range []time.Duration{10 * year, 400 * day, 290 * year} {
				right := c.clock.now()
				kept := c.Bounds().Head - c.Bounds().Trimmed
				restart(t, c, wrong)
				c.enforce(t)
				c.wantNewest(t, right)
				if got := c.Clock(); got.Ahead != wrong {
					t.Errorf("ahead by %v, want %v", got.Ahead, wrong)
				}
				c.live(t, 12*time.Hour)
				c.wantNewest(t, right.Add(12*time.Hour))
				if !strings.Contains(c.said.String(), "is not believed") {
					t.Error("nothing was said of it")
				}
				restart(t, c, -wrong)
				c.wantNewest(t, right.Add(12*time.Hour))
				c.live(t, 12*time.Hour)
				c.wantNewest(t, right.Add(24*time.Hour))
				if got := c.Bounds().Head - c.Bounds().Trimmed; got < kept {
					t.Errorf("%d events are kept of %d", got, kept)
				}
				if got := c.Clock(); got.Ahead != 0 || got.Retention != got.Now {
					t.Errorf("after the correction: %+v", got)
				}
				c.said.Reset()
			}
		})
	}
}

// TestOffForLong: after a gateway was off for longer than events are kept, it goes
// on by itself: the clock is believed, and what is too old is removed.
func TestOffForLong(t *testing.T) {
	for _, off := range []time.Duration{60 * day, 400 * day} {
		t.Run(off.String(), func(t *testing.T) {
			c := newClocked(t)
			c.live(t, 2*day)
			old := c.Bounds().Head
			c.off(t, off)
			if trimmed := c.Bounds().Trimmed; trimmed != 0 {
				t.Fatalf("trimmed up to %d at the start", trimmed)
			}
			c.live(t, off/beliefParts+time.Hour)
			c.wantNewest(t, c.clock.now())
			if c.Clock().Ahead != 0 {
				t.Error("the clock is not believed")
			}
			if trimmed := c.Bounds().Trimmed; trimmed >= old {
				t.Errorf("trimmed up to %d as soon as the clock was believed", trimmed)
			}
			behind := c.Clock()
			c.off(t, 0)
			if got := c.Clock(); got.Retention.Sub(behind.Retention).Abs() > time.Hour {
				t.Errorf("retention goes by %v after a restart, and went by %v before", got.Retention, behind.Retention)
			}
			if trimmed := c.Bounds().Trimmed; trimmed >= old {
				t.Errorf("trimmed up to %d by a restart", trimmed)
			}
			c.live(t, off/eventlog.RetentionSpeed)
			if trimmed := c.Bounds().Trimmed; trimmed < old {
				t.Errorf("trimmed up to %d, want at least %d", trimmed, old)
			}
		})
	}
}

// TestOffForDays: after a usual time off events get the right time at once, and
// retention catches up with no more than ten times the speed of time.
func TestOffForDays(t *testing.T) {
	c := newClocked(t)
	c.live(t, 29*day)
	c.off(t, 5*day)
	c.wantNewest(t, c.clock.now())
	if trimmed := c.Bounds().Trimmed; trimmed != 0 {
		t.Errorf("trimmed up to %d at the start", trimmed)
	}
	c.live(t, 6*time.Hour)
	if trimmed := c.Bounds().Trimmed; trimmed < 30 || trimmed > 60 {
		t.Errorf("trimmed up to %d six hours later, want about 36", trimmed)
	}
	c.live(t, 12*time.Hour)
	if got := c.Clock(); got.Retention != got.Now {
		t.Errorf("retention has not caught up: %+v", got)
	}
	// Event n was received in hour n: the newest that is more than 30 days old is 113.
	if trimmed := c.Bounds().Trimmed; trimmed != 113 {
		t.Errorf("trimmed up to %d, want 113", trimmed)
	}
}

// TestQuietLog: a log that gets no event for long is in use all the same.
func TestQuietLog(t *testing.T) {
	c := newClocked(t)
	mustAppend(t, c.Log, "", "body")
	for range 25 {
		c.clock.advance(day)
		c.enforce(t)
	}
	c.off(t, day)
	c.wantNewest(t, c.clock.now())
	c.clock.advance(5 * day)
	c.enforce(t)
	if trimmed := c.Bounds().Trimmed; trimmed != 1 {
		t.Errorf("trimmed up to %d, want 1", trimmed)
	}
}

// TestClockSetBack: what a wrong clock was believed for is bounded by a week.
func TestClockSetBack(t *testing.T) {
	c := newClocked(t)
	c.live(t, day)
	c.clock.jump(maxJump)
	c.wantNewest(t, c.clock.now())
	given := c.clock.now()
	c.clock.jump(-maxJump)
	c.wantNewest(t, given)
	if got := c.Clock(); got.Ahead != -maxJump {
		t.Errorf("the clock is ahead by %v, want %v", got.Ahead, -maxJump)
	}
	c.clock.advance(maxJump + time.Second)
	c.wantNewest(t, given.Add(time.Second))
}

// TestFirstClock: a new log takes what the clock says, and a machine that began with
// 1970 gets over it.
func TestFirstClock(t *testing.T) {
	c := newClocked(t)
	c.clock.jump(10 * year)
	c.wantNewest(t, c.clock.now())

	for name, correct := range map[string]func(*clocked, time.Duration){
		"while it runs": func(c *clocked, d time.Duration) { c.clock.jump(d); c.enforce(t) },
		"at a start":    func(c *clocked, d time.Duration) { c.off(t, d) },
	} {
		c = newClocked(t)
		actual := c.clock.now().Add(30 * day)
		c.clock.jump(-50 * year)
		c.wantNewest(t, c.clock.now())
		correct(c, actual.Sub(c.clock.now()))
		c.clock.advance(8 * time.Hour)
		mustAppend(t, c.Log, "", "body")
		if got := c.newest(t); !got.Equal(c.clock.now()) {
			t.Errorf("corrected %s: the event was received at %v, want %v", name, got, c.clock.now())
		}
	}
}

// TestClockValueMalformed: the log opens whatever the disk holds in its place.
func TestClockValueMalformed(t *testing.T) {
	c := newClocked(t)
	c.live(t, day)
	err := c.write(t.Context(), kindUpkeep, func(_ *committer, b *pebble.Batch) error { return b.Set(metaKey(metaClock), []byte("x"), nil) })
	if err != nil {
		t.Fatal(err)
	}
	c.off(t, day)
	c.wantNewest(t, c.clock.now())
	if got := c.Clock(); got.Retention.After(got.Now) || got.Now.Sub(got.Retention) > 25*time.Hour {
		t.Errorf("the clock is %+v", got)
	}
}

// TestRestoredByAWrongClock restores with a clock that is ten years ahead or behind, and
// opens with a right one: a clock that is ahead later is doubted like any other.
func TestRestoredByAWrongClock(t *testing.T) {
	for _, years := range []int{10, -10} {
		t.Run(fmt.Sprint(years), func(t *testing.T) {
			c := newClocked(t)
			mustAppend(t, c.Log, "", "body")
			wrong := c.clock.now().AddDate(years, 0, 0)
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			writeDisk(t, c.disk, "log/"+restoredName, []byte(wrong.UTC().Format(time.RFC3339)))
			c.open(t)
			right := c.clock.now()
			if now := c.Clock().Now; now.Sub(right).Abs() > time.Minute {
				t.Errorf("the time is %v, want %v", now, right)
			}
			mustAppend(t, c.Log, "", "body")
			c.off(t, 10*year)
			if now := c.Clock().Now; now.Sub(right) > time.Hour {
				t.Errorf("a clock that is ten years ahead is believed: %v", now)
			}
		})
	}
}

// TestClockSetBeforeTheFirstEvent: a machine begins with 1970, as without a battery, and is told the time after the log
// was begun, and before there is an event. Retention by age goes by the time that it was told.
func TestClockSetBeforeTheFirstEvent(t *testing.T) {
	clock := newClock()
	right := clock.now()
	clock.wall = time.Unix(0, 0)
	config := testConfig("log")
	config.Retention.Interval = 1000 * time.Hour // the test enforces it
	log := mustOpen(t, config, WithFS(vfs.NewMem()), clock.option())
	wantTrimmed(t, log, 0)
	clock.jump(right.Sub(clock.now()))
	mustAppend(t, log, "", "old")
	clock.advance(2 * config.Retention.MaxAge)
	mustAppend(t, log, "", "new")
	wantTrimmed(t, log, 1)
	if now := log.Clock(); now.Now.Sub(now.Retention) > time.Minute {
		t.Errorf("retention is at %v, %v late", now.Retention, now.Now.Sub(now.Retention))
	}
}

// TestClockOfAnEmptyCopy: a copy that is made anew may be empty, as when the engine has lost everything. Retention goes on
// from its first event.
func TestClockOfAnEmptyCopy(t *testing.T) {
	machine := newClock()
	c := clock{wall: machine.now, running: machine.running, logger: slog.New(slog.DiscardHandler)}
	c.start(&store{head: mark{position: 1, receiveTime: machine.now()}})
	machine.advance(time.Hour)
	c.get()
	c.start(&store{})
	if now := c.get(); !now.Retention.Equal(now.Now) {
		t.Errorf("without an event retention is at %v, and the time is %v", now.Retention, now.Now)
	}
	c.gave(c.get().Now)
	machine.advance(time.Hour)
	if now := c.get(); now.Now.Sub(now.Retention) > time.Minute {
		t.Errorf("retention is at %v, %v late", now.Retention, now.Now.Sub(now.Retention))
	}
}
