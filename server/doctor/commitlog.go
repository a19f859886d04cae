package doctor

import (
	"context"
	"net"
	"net/url"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server"
)

const (
	natsPort    = "4222"
	dialTimeout = 2 * time.Second
)

// checkCommitLog looks at what gateways share their events by.
func checkCommitLog(ctx context.Context, c server.CommitLog) []Finding {
	if !c.Enabled() {
		return one(OK, "", "the gateway is alone: its events are on its own disk")
	}
	var findings []Finding
	for _, warning := range c.Warnings() {
		findings = append(findings, finding(Warn, "see docs/configuration.md, store.commit_log", "%s", warning))
	}
	if c.Engine == server.CommitLogJetStream {
		findings = append(findings, checkReached(ctx, c.JetStream.URLs)...)
	}
	if len(findings) == 0 {
		findings = one(OK, "", "the gateway shares its events by %s", c.Engine)
	}
	return findings
}

// checkClusterPort looks at the port for the other gateways, which is served by the gateway
// that runs.
func checkClusterPort(ctx context.Context, c server.Config, g gateway) []Finding {
	if !c.Store.CommitLog.Enabled() {
		return nil
	}
	return []Finding{checkPort(ctx, "cluster.listen", c.Cluster.Listen, g.internal.isInternal)}
}

// checkReached looks whether servers take connections, and says nothing more of them: the
// gateway itself makes what is missing there.
func checkReached(ctx context.Context, urls []string) (findings []Finding) {
	reached := 0
	dialer := net.Dialer{Timeout: dialTimeout}
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil {
			continue // the configuration is valid, so this does not happen
		}
		address := u.Host
		if u.Port() == "" {
			address = net.JoinHostPort(u.Hostname(), natsPort)
		}
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			findings = append(findings, finding(Warn, "start it, or correct store.commit_log.jetstream.urls", "the NATS server %s cannot be reached: %v", address, err))
			continue
		}
		_ = conn.Close() // nothing was sent
		reached++
	}
	if reached == 0 {
		findings = append(findings, finding(Fail, "start the servers, or correct store.commit_log.jetstream.urls", "no NATS server can be reached: deliveries are answered 503, and a gateway without a copy of the events has nothing for readers"))
	}
	return findings
}
