package commitlogtest

import (
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
		return Harness{Open: func(*testing.T) commitlog.Log { return memory.Open(NewBadAnswers(1)) }}
	})
}

// TestStorm: the storm itself finds nothing wrong where nothing is.
func TestStorm(t *testing.T) {
	memory := NewMemory()
	faults := NewBadAnswers(1)
	storm := StartStorm(t, 10_000, memory.Open(faults), memory.Open(faults), memory.Open(faults))
	storm.Progress(20)
	if n := storm.Finish(memory.Open(nil)); n < 20 {
		t.Errorf("%d commits", n)
	}
}
