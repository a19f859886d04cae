package server

import (
	"errors"
	"fmt"
	"net"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// Exposed returns the keys and addresses of the internal listeners that other machines
// can reach, if they need no credentials there.
func (c Config) Exposed() [][2]string {
	if c.Access.Enabled() {
		return nil
	}
	var list [][2]string
	for _, l := range [][2]string{{"listen.grpc", c.Listen.GRPC}, {"listen.internal_http", c.Listen.InternalHTTP}} {
		host, _, err := net.SplitHostPort(l[1])
		if ip, _ := listenIP(host); err == nil && !ip.IsLoopback() && !isLocalhost(host) {
			list = append(list, l)
		}
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
// purpose.
func exposureWarnings(c Config) []string {
	var warnings []string
	for _, l := range c.Exposed() {
		warnings = append(warnings, fmt.Sprintf("%s (%s) is insecure: whoever reaches it reads every event and manages every "+
			"subscription, without credentials. Say in access who may call, but for development", l[0], l[1]))
	}
	return warnings
}
