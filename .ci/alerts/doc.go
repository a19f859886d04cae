// Package alerts tests the alert rules and the dashboard of the chart with Prometheus' own
// code: on series that are written down, and on what real gateways serve that are well or
// not. It is a module of its own, and not promtool: that needs the clients of every
// cloud that Prometheus finds its targets in, and takes minutes to build.
package alerts
