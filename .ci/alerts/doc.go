// Package alerts tests the alert rules and the dashboard in deploy/ with Prometheus' own
// code. It is a module of its own, and not promtool: that needs the clients of every
// cloud that Prometheus finds its targets in, and takes minutes to build.
package alerts
