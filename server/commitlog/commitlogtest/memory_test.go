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
