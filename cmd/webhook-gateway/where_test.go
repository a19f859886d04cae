package main

import (
	"strings"
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

func TestPlaces(t *testing.T) {
	zone := time.FixedZone("somewhere", 2*60*60)
	now := time.Date(2026, 11, 24, 13, 14, 15, 0, zone)
	at := func(text string) place {
		parsed, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return place{time: parsed}
	}
	cursor := "cMzxIXPQC1m0unZMzY6-AAAAAAAAAAXdj2Lq"
	for text, want := range map[string]place{
		"earliest":             {position: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST},
		"latest":               {position: webhookgatewayv1.StartPosition_START_POSITION_LATEST},
		"today":                at("2026-11-24T00:00:00+02:00"),
		"yesterday":            at("2026-11-23T00:00:00+02:00"),
		"2026-11-20":           at("2026-11-20T00:00:00+02:00"),
		"2026-11-20 08:30":     at("2026-11-20T08:30:00+02:00"),
		"2026-11-20T08:30:01":  at("2026-11-20T08:30:01+02:00"),
		"2026-11-20T08:30:01Z": at("2026-11-20T08:30:01Z"),
		cursor:                 {cursor: cursor},
	} {
		got, err := parsePlace(text, now)
		if err != nil || got.position != want.position || got.cursor != want.cursor || !got.time.Equal(want.time) {
			t.Errorf("%s is understood as %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "tomorrow", "Latest", "2026-13-01", "2026-11-31", "1h", "24.11.2026", cursor + "="} {
		if got, err := parsePlace(text, now); err == nil || !strings.Contains(err.Error(), "is no place in the log") {
			t.Errorf("%q is understood as %v (%v)", text, got, err)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1d": day, "1.5d": 36 * time.Hour, "2d12h": 60 * time.Hour, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "0s": 0, "0": 0,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%s is understood as %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "1", "-1h", "-1d", "1d-2h", "1h1d", "99999999d", "1w"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q is understood as %v", text, got)
		}
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"localhost": "localhost:9090", "localhost:1": "localhost:1", "10.0.0.1": "10.0.0.1:9090", "::1": "[::1]:9090", "[::1]": "[::1]:9090",
		"[::1]:7": "[::1]:7", ":9090": ":9090", "gateway.internal": "gateway.internal:9090",
	} {
		if got, err := parseAddr("--addr", text, defaultGRPCPort); err != nil || got != want {
			t.Errorf("%s is understood as %q (%v), want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "http://localhost:9090", "dns:///x:1", "localhost:http", "localhost:70000", "localhost:9090/x", "a b:1", "x:y:z"} {
		if got, err := parseAddr("--addr", text, defaultGRPCPort); err == nil {
			t.Errorf("%q is understood as %q", text, got)
		}
	}
}
