package commitlogtest

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

func TestMemory(t *testing.T) {
	Run(t, func(*testing.T) Harness {
		memory := NewMemory()
		return Harness{Open: func(*testing.T) commitlog.Log { return memory.Open(nil) }}
	})
}

// TestMemoryWithFaults: Settle is right whatever the answers are.
func TestMemoryWithFaults(t *testing.T) {
	Run(t, func(*testing.T) Harness {
		memory := NewMemory()
		return Harness{Open: func(*testing.T) commitlog.Log { return memory.Open(new(badAnswers)) }}
	})
}

// badAnswers refuses commits that land, loses answers, and loses commits.
type badAnswers struct {
	mu sync.Mutex
	r  *rand.Rand
}

var errLost = errors.New("no answer")

func (b *badAnswers) roll(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.r == nil {
		b.r = rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test
	}
	return b.r.IntN(n) == 0
}

func (b *badAnswers) Before([]byte) error {
	if b.roll(5) {
		return errLost
	}
	return nil
}

func (b *badAnswers) After(_ []byte, answer error) error {
	switch {
	case answer != nil:
		return answer
	case b.roll(4):
		return errLost
	case b.roll(4):
		return commitlog.ErrTaken // by an old leader, and yet it landed
	}
	return nil
}

// TestStorm: the storm itself finds nothing wrong where nothing is.
func TestStorm(t *testing.T) {
	memory := NewMemory()
	faults := new(badAnswers)
	storm := StartStorm(t, 10_000, memory.Open(faults), memory.Open(faults), memory.Open(faults))
	storm.Progress(20)
	if n := storm.Finish(memory.Open(nil)); n < 20 {
		t.Errorf("%d commits", n)
	}
}
