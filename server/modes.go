package server

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

// maxNamedClients bounds how many clients a warning names.
const maxNamedClients = 10

var verificationMode = prometheus.NewDesc("webhook_gateway_verification_mode",
	"How many clients of the provider have the verification mode enforce, report or off; 1 for a provider whose mode is that of all its clients.",
	[]string{"provider", "mode"}, nil)

// modeMetrics has every mode of a provider, so that an alert on one that should not be
// there works.
type modeMetrics func() []provider.ModeOf

// Describe implements prometheus.Collector.
func (m modeMetrics) Describe(descs chan<- *prometheus.Desc) { descs <- verificationMode }

// Collect implements prometheus.Collector.
func (m modeMetrics) Collect(metrics chan<- prometheus.Metric) {
	type key struct {
		provider string
		mode     provider.Mode
	}
	counts := make(map[key]float64)
	for _, one := range m() {
		for _, mode := range []provider.Mode{provider.ModeEnforce, provider.ModeReport, provider.ModeOff} {
			counts[key{one.Provider, mode}] += 0
		}
		counts[key{one.Provider, one.Mode}]++
	}
	for k, count := range counts {
		metrics <- prometheus.MustNewConstMetric(verificationMode, prometheus.GaugeValue, count, k.provider, k.mode.String())
	}
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
