package server

import (
	"crypto/rand"
	"errors"
	"net"
	"net/url"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

// newCanarySecret returns what the canary of this process signs with. Nobody else knows it.
func newCanarySecret() secret.Secret { return secret.New(rand.Text()) }

// checkCanary refuses a canary that nothing would take the deliveries of.
func (c Config) checkCanary() error {
	if !c.Canary.Enabled() {
		return nil
	}
	var errs []error
	if !c.Providers.Finicity.Enabled {
		errs = append(errs, fielderr.New("interval", "the canary signs as Finicity does: set providers.finicity.enabled to true, or this to 0s for no canary"))
	}
	if c.Canary.URL == "" && c.TLS.Webhooks.RequireClientCertificate {
		errs = append(errs, fielderr.New("url", "tls.webhooks.require_client_certificate is true, and the canary has no certificate: give the URL under which providers reach the gateway"))
	}
	return errors.Join(errs...)
}

// newProviders returns the providers of a configuration, of which one takes the deliveries of
// the canary if there is one.
func (s *Server) newProviders(config Config) ([]provider.Provider, error) {
	providers := config.Providers
	if config.Canary.Enabled() {
		providers.Finicity.Canary = s.canarySecret
	}
	return all.New(providers)
}

// ownWebhooksURL returns the base URL of the listener for webhooks on this machine.
func (s *Server) ownWebhooksURL() string {
	u := url.URL{Scheme: "http"}
	if s.config.TLS.Webhooks.Enabled() {
		u.Scheme = "https"
	}
	host, _, _ := net.SplitHostPort(s.config.Listen.Webhooks)          // it is listened on
	_, port, _ := net.SplitHostPort(s.webhookListener.Addr().String()) // the one that was picked for port 0
	u.Host = LocalAddr(net.JoinHostPort(host, port))
	return u.String() // it escapes the zone of an IPv6 address
}
