package server

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

// maxNamedClients bounds how many clients a warning names.
const maxNamedClients = 10

// newModeMetrics returns the metric of the verification modes in force. It has every
// mode of a provider, so that an alert on one that should not be there works.
func newModeMetrics(modes []provider.ModeOf) prometheus.Collector {
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "webhook_gateway_verification_mode",
		Help: "How many clients of the provider have the verification mode enforce, report or off; " +
			"1 for a provider whose mode is that of all its clients.",
	}, []string{"provider", "mode"})
	for _, m := range modes {
		for _, mode := range []provider.Mode{provider.ModeEnforce, provider.ModeReport, provider.ModeOff} {
			count := 0.0
			if m.Mode == mode {
				count = 1
			}
			gauge.WithLabelValues(m.Provider, mode.String()).Add(count)
		}
	}
	return gauge
}

// modeWarnings returns a line for each provider and mode that takes what is not
// verified.
func modeWarnings(modes []provider.ModeOf) []string {
	type key struct {
		provider string
		mode     provider.Mode
	}
	var order []key
	clients := make(map[key][]string)
	for _, m := range modes {
		k := key{m.Provider, m.Mode}
		if m.Mode == provider.ModeEnforce {
			continue
		}
		if _, ok := clients[k]; !ok {
			order = append(order, k)
		}
		clients[k] = append(clients[k], m.ClientID)
	}
	var warnings []string
	for _, k := range order {
		what := "verification is off: anybody can make up events, and they are delivered to everybody. Set it to enforce, but for development"
		if k.mode == provider.ModeReport {
			what = "verification only reports: what fails it is stored, and delivered to those who ask for it. Set it to enforce when it is authentic"
		}
		warnings = append(warnings, fmt.Sprintf("%s%s: %s", k.provider, nameClients(clients[k]), what))
	}
	return warnings
}

// nameClients names clients, the first ones of many; nothing for every client.
func nameClients(ids []string) string {
	if len(ids) == 1 && ids[0] == "" {
		return ""
	}
	more := ""
	if len(ids) > maxNamedClients {
		more = fmt.Sprintf(" and %d more", len(ids)-maxNamedClients)
		ids = ids[:maxNamedClients]
	}
	return fmt.Sprintf(" (clients %s%s)", strings.Join(ids, ", "), more)
}
