package pebblelog

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
)

// overtaken is a commit log in which another commit comes first, once.
type overtaken struct {
	commitlog.Log
	first func()
}

func (o *overtaken) Append(ctx context.Context, after commitlog.Sequence, commit []byte) (commitlog.Sequence, error) {
	if first := o.first; first != nil {
		o.first = nil
		first()
	}
	return o.Log.Append(ctx, after, commit)
}

// TestWrongClockOvertaken: a log without events believes any clock. A gateway whose clock is
// wrong then, and whose first event comes second, goes by the time of the first: what it had
// meant to give its own was given to none. Else its time would make the first look old.
func TestWrongClockOvertaken(t *testing.T) {
	memory := commitlogtest.NewMemory()
	right, wrong := newClock(), newClock()
	wrong.wall = right.wall.AddDate(4, 0, 0)
	a := openShared(t, vfs.NewMem(), commitsOf(t, memory), right.option())
	commits := &overtaken{Log: commitsOf(t, memory)}
	b := openShared(t, vfs.NewMem(), commits, wrong.option())
	commits.first = func() { mustAppend(t, a, "first", "1") }
	if receipt := mustAppend(t, b, "second", "2"); receipt.Position != 2 {
		t.Fatalf("the event is at %d: nothing came first", receipt.Position)
	}
	if now := b.Clock().Now; now.Sub(right.wall) > time.Hour {
		t.Errorf("the log is at %v, and its first event of %v", now, right.wall)
	}
	if head, _ := b.published.get(); !head.receiveTime.Equal(right.wall) {
		t.Errorf("the second event was received at %v, and the first at %v", head.receiveTime, right.wall)
	}
}

// TestClocksBeforeTheFirstEvent: gateways whose clocks are wrong by years, each by others, begin a log that has no events.
// What the first of them stores is not old for the next.
func TestClocksBeforeTheFirstEvent(t *testing.T) {
	memory := commitlogtest.NewMemory()
	clocks := []*testClock{newClock(), newClock()}
	logs := []*Log{
		openShared(t, vfs.NewMem(), commitsOf(t, memory), clocks[0].option()),
		openShared(t, vfs.NewMem(), commitsOf(t, memory), clocks[1].option()),
	}
	clocks[0].jump(-5 * 365 * 24 * time.Hour)
	clocks[1].jump(-2 * 365 * 24 * time.Hour)
	for i, log := range logs {
		mustAppend(t, log, fmt.Sprint("event ", i), "body")
	}
	for _, log := range logs {
		wantTrimmed(t, log, 0)
	}
}

// TestRetentionOfAFreshCopy: a gateway that begins with nothing goes on with the retention of the others. If its clock is
// ahead by less than what is not believed, it has events removed no earlier than they; nor much later.
func TestRetentionOfAFreshCopy(t *testing.T) {
	memory := commitlogtest.NewMemory()
	right, wrong := newClock(), newClock()
	one := openShared(t, vfs.NewMem(), commitsOf(t, memory), right.option())
	age := one.config.Retention.MaxAge
	mustAppend(t, one, "old", "body")
	for range 9 {
		right.advance(age / 10)
		mustAppend(t, one, "", "body")
		wantTrimmed(t, one, 0)
	}
	wrong.wall = right.wall.Add(maxJump - time.Hour)
	two := openShared(t, vfs.NewMem(), commitsOf(t, memory), wrong.option())
	wantTrimmed(t, two, 0)
	if got, want := two.Clock().Retention, one.Clock().Retention; got.Sub(want).Abs() > time.Minute {
		t.Errorf("its retention is at %v, and that of the others at %v", got, want)
	}
}
