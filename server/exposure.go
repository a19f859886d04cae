package server

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// Exposed returns the keys and addresses of the internal listeners that other machines
// can reach, if they need no credentials there.
func (c Config) Exposed() [][2]string {
	if c.Access.Enabled() {
		return nil
	}
	return c.reachable(false)
}

// reachable returns the keys and addresses of the internal listeners that other machines
// can reach, or only those of them that speak plain text.
func (c Config) reachable(plainText bool) [][2]string {
	var list [][2]string
	for _, l := range []struct {
		name, address string
		secured       bool
	}{
		{listenerGRPC, c.Listen.GRPC, c.TLS.GRPC.Enabled()},
		{listenerInternalHTTP, c.Listen.InternalHTTP, c.TLS.InternalHTTP.Enabled()},
	} {
		host, _, err := net.SplitHostPort(l.address)
		if ip, _ := listenIP(host); err != nil || ip.IsLoopback() || isLocalhost(host) || plainText && l.secured {
			continue
		}
		list = append(list, [2]string{"listen." + l.name, l.address})
	}
	return list
}

// checkExposure refuses internal listeners that are open to other machines by mistake.
func (c Config) checkExposure() error {
	if c.Access.Insecure {
		return nil
	}
	var errs []error
	for _, l := range c.Exposed() {
		errs = append(errs, fielderr.New(l[0], "%q can be reached by other machines, and nobody needs credentials there: "+
			"say in access who may call, listen on 127.0.0.1, or set access.insecure: true", l[1]))
	}
	return errors.Join(errs...)
}

// exposureWarnings returns a line for each listener that is open to other machines on
// purpose, or where credentials pass through a network that others may read along.
func exposureWarnings(c Config) []string {
	warnings := c.Cluster.warnings(c.Store.CommitLog.Enabled())
	for _, l := range c.Exposed() {
		warnings = append(warnings, fmt.Sprintf("%s (%s) is insecure: whoever reaches it reads every event and manages every "+
			"subscription, without credentials. Say in access who may call, but for development", l[0], l[1]))
	}
	if !c.Access.Enabled() {
		return warnings
	}
	for _, l := range c.reachable(true) {
		warnings = append(warnings, fmt.Sprintf("%s (%s) speaks plain text: whoever is on the way reads tokens and events. "+
			"Give it a certificate (%s), or have something encrypt the way there", l[0], l[1], strings.Replace(l[0], "listen.", "tls.", 1)))
	}
	return warnings
}
