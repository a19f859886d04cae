package server_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// TestWrongClock: a gateway whose clock is off, compared with its log, says so, is
// ready, and takes deliveries.
func TestWrongClock(t *testing.T) {
	for _, tc := range []struct {
		name            string
		off             time.Duration // of the clock, since the newest event
		warning, metric string        // after a second or, on a busy machine, some minutes: what is behind catches up
	}{
		{"far ahead", 100 * 24 * time.Hour, `2400h\dm0s ahead of the event log and is not believed`, "webhook_gateway_log_clock_ahead_seconds 8.6"},
		{"a little ahead", 50 * time.Hour, `retention by age is (50h0|49h\d+)m0s behind`, "webhook_gateway_log_retention_behind_seconds 17"},
		{"behind", -2 * time.Hour, `(2h0|1h5\d)m0s behind the newest event`, "webhook_gateway_log_clock_ahead_seconds -"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config := pebblelog.DefaultConfig()
			config.Path = t.TempDir()
			log, err := pebblelog.Open(config, slog.New(slog.DiscardHandler), pebblelog.WithClock(
				func() time.Time { return time.Now().Add(-tc.off) }, func() time.Duration { return 0 }))
			if err != nil {
				t.Fatal(err)
			}
			for n := range 3 {
				if _, err := log.Append(t.Context(), eventlogtest.Entry(t, "client", fmt.Sprint(n), "body")); err != nil {
					t.Fatal(err)
				}
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}

			g := servertest.Start(t, func(c *server.Config) { c.Store.Pebble.Path = config.Path })
			g.Deliver(t, syncAccount)
			code, body := get(t, g, "/readyz")
			if code != http.StatusOK || !strings.Contains(body, `"status":"ok"`) || !regexp.MustCompile(tc.warning).MatchString(body) {
				t.Errorf("/readyz: %d %s", code, body)
			}
			_, metrics := get(t, g, "/metrics")
			if !strings.Contains(metrics, tc.metric) || !strings.Contains(metrics, "webhook_gateway_log_events 4\n") {
				t.Errorf("the metrics lack %q, or events", tc.metric)
			}
		})
	}
}
