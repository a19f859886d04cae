package commitlogtest

import (
	"errors"
	"math/rand/v2"
	"sync"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// BadAnswers are Faults that refuse commits which land, lose answers, and lose commits.
type BadAnswers struct {
	mu sync.Mutex
	r  *rand.Rand
}

// NewBadAnswers returns faults that depend on a seed.
func NewBadAnswers(seed uint64) *BadAnswers {
	return &BadAnswers{r: rand.New(rand.NewPCG(seed, 2))} //nolint:gosec // a test
}

var errLost = errors.New("no answer")

func (b *BadAnswers) roll(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.r.IntN(n) == 0
}

// Before implements Faults.
func (b *BadAnswers) Before([]byte) error {
	if b.roll(5) {
		return errLost
	}
	return nil
}

// After implements Faults.
func (b *BadAnswers) After(_ []byte, answer error) error {
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
