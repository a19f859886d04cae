package stream_test

import (
	"strings"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/stream"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := stream.DefaultConfig().Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
	err := stream.Config{DefaultHeartbeat: time.Millisecond}.Validate()
	for _, key := range []string{"max_streams", "default_heartbeat"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("error = %v, want it to name %s", err, key)
		}
	}
}
