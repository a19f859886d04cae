package server

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

func TestModeWarnings(t *testing.T) {
	t.Parallel()
	var modes []provider.ModeOf
	for i := range 12 {
		modes = append(modes, provider.ModeOf{Provider: "finicity", ClientID: fmt.Sprint("c", i), Mode: provider.ModeOff})
	}
	modes = append(modes,
		provider.ModeOf{Provider: "finicity", ClientID: "reports", Mode: provider.ModeReport},
		provider.ModeOf{Provider: "finicity", ClientID: "safe", Mode: provider.ModeEnforce},
		provider.ModeOf{Provider: "vezgo", Mode: provider.ModeOff})
	var got []string
	for _, warning := range modeWarnings(modes) {
		whom, _, _ := strings.Cut(warning, ".")
		got = append(got, whom)
	}
	const off = "verification is off: anybody can make up events, and they are delivered to everybody"
	want := []string{
		"finicity (clients c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 and 2 more): " + off,
		"finicity (clients reports): verification only reports: what fails it is stored, and delivered to those who ask for it",
		"vezgo: " + off,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if got := modeWarnings(modes[13:14]); got != nil {
		t.Errorf("warnings although everything is enforced: %q", got)
	}
}
