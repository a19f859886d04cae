package telemetry_test

import (
	"math"
	"strings"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server/telemetry"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*telemetry.Config)
		want   string
	}{
		{"the default", func(*telemetry.Config) {}, ""},
		{"a collector", func(c *telemetry.Config) { c.Endpoint = "collector.example.com:4317" }, ""},
		{"a URL", func(c *telemetry.Config) { c.Endpoint = "http://localhost:4317" }, "endpoint: "},
		{"no port", func(c *telemetry.Config) { c.Endpoint = "localhost" }, "endpoint: "},
		{"no host", func(c *telemetry.Config) { c.Endpoint = ":4317" }, "endpoint: "},
		{"a port by name", func(c *telemetry.Config) { c.Endpoint = "localhost:otlp" }, "endpoint: "},
		{"nothing is traced", func(c *telemetry.Config) { c.SampleRatio = 0 }, "sample_ratio: "},
		{"more than all", func(c *telemetry.Config) { c.SampleRatio = 1.1 }, "sample_ratio: "},
		{"no number", func(c *telemetry.Config) { c.SampleRatio = math.NaN() }, "sample_ratio: "},
		{"no name", func(c *telemetry.Config) { c.ServiceName = "" }, "service_name: "},
	} {
		config := telemetry.DefaultConfig()
		test.change(&config)
		err := config.Validate()
		if (err != nil) != (test.want != "") || err != nil && !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}
