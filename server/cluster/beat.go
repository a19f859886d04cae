package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	clusterv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/cluster/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// scopePrefix begins the names of the scopes of members; the id follows.
const scopePrefix = eventlog.ReservedPrefix + "member/"

// keyMember is the key of the one pair of such a scope.
const keyMember = "m"

// flight is a beat that is under way, or about to be.
type flight struct {
	// due: it is one of the regular beats, by which others are judged. Guarded by the mutex
	// of the cluster: one that was asked for by Sync may become one.
	due bool
	// missed is how many beats were due when it began, since the last one that succeeded.
	missed int
	// done is closed when the beat has ended. Then err says what became of it.
	done chan struct{}
	err  error
}

var errLeft = errors.New("the gateway has left the cluster")

func (c *Cluster) isDue(f *flight) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return f.due
}

// report sends what became of a beat.
func (f *flight) report(answer chan<- error) {
	<-f.done
	answer <- f.err
}

// due begins a regular beat, and returns it, or the one before if that has not ended.
func (c *Cluster) due() *flight {
	c.mu.Lock()
	c.missed++
	mine := c.running
	if mine == nil || !mine.due {
		mine = c.nextFlight()
		mine.due = true
	}
	c.mu.Unlock()
	c.judgeMyself()
	return mine
}

// Sync returns when everything that was committed before the call is applied to the
// copy of this gateway, and the view tells of it.
func (c *Cluster) Sync(ctx context.Context) error {
	c.mu.Lock()
	if c.left {
		c.mu.Unlock()
		return errLeft
	}
	mine := c.nextFlight()
	c.mu.Unlock()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return fmt.Errorf("wait for the other gateways: %w", context.Cause(ctx))
	}
}

// nextFlight returns a beat that has not begun, or that begins now. The mutex must be held.
func (c *Cluster) nextFlight() *flight {
	if c.next == nil {
		c.next = &flight{done: make(chan struct{})}
	}
	mine := c.next
	if c.running == nil {
		c.startFlight()
	}
	return mine
}

// startFlight begins the next beat. None must be under way, and the mutex must be held.
func (c *Cluster) startFlight() {
	c.running, c.next = c.next, nil
	mine := c.running
	mine.missed = c.missed
	go func() {
		began := time.Now()
		err := c.write()
		if err == nil {
			// NOTE First the view tells what the beat has brought, and only then is the gateway
			// certain of it: see since.
			err = c.look(c.ctx, c.isDue(mine))
		} else {
			c.judgeMyself()
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if err == nil {
			c.since = began
			if c.missed -= mine.missed; c.missedTo(certainty) && !c.left {
				c.nextFlight() // it took long
			}
		}
		mine.err = err
		close(mine.done)
		c.running = nil
		switch {
		case c.next == nil:
		case c.left:
			c.next.err = errLeft
			close(c.next.done)
			c.next = nil
		default:
			c.startFlight()
		}
	}()
}

// write writes a beat. Only the beat that is under way calls it.
func (c *Cluster) write() error {
	// NOTE Not ended by Leave, which waits for it: a scope is dropped by its term.
	ctx := context.WithoutCancel(c.ctx)
	c.mu.Lock()
	term := c.term
	c.mu.Unlock()
	for joined := false; ; joined = true {
		var err error
		if term == 0 {
			if c.ctx.Err() != nil {
				return errLeft
			}
			if term, err = c.States.AcquireScope(ctx, scopePrefix+c.id); err != nil {
				return fmt.Errorf("join the cluster: %w", err)
			}
		}
		c.beat++
		known := c.View().ids()
		value, err := proto.Marshal(&clusterv1.Member{
			Id: c.id, Address: c.Address, Beat: c.beat, Started: timestamppb.New(c.started), Known: known,
		})
		if err != nil {
			return fmt.Errorf("write a beat: %w", err)
		}
		err = c.States.CommitScope(ctx, scopePrefix+c.id, term, []eventlog.StateMutation{{Key: []byte(keyMember), Value: value}})
		if errors.Is(err, eventlog.ErrScopeLost) && !joined {
			c.Logger.Warn("the other gateways have taken this one for dead: it joins again")
			c.mu.Lock()
			c.arrived = false
			c.mu.Unlock()
			c.publish(nil) // what it owned is another's
			term = 0
			continue
		}
		if err != nil {
			return fmt.Errorf("write a beat: %w", err)
		}
		c.mu.Lock()
		c.term, c.told = term, known
		c.mu.Unlock()
		return nil
	}
}

// judgeMyself has a gateway that could not beat for too long own nothing.
func (c *Cluster) judgeMyself() {
	if c.dead() {
		c.publish(nil)
	}
}

// dead reports whether this gateway takes itself for dead.
func (c *Cluster) dead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.missedTo(Endurance)
}

// missedTo reports whether so many beats in a row were missed. The mutex must be held.
func (c *Cluster) missedTo(beats int) bool {
	// A process that was stopped had no beats that it could have missed.
	return c.missed >= beats || c.Beats == nil && time.Since(c.since) >= time.Duration(beats)*beatInterval
}
