package vezgo

import (
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

const (
	clientHeader   = "X-Client-Id"
	secretQueryKey = "secret"
)

// Admit implements provider.Provider. Where the delivery comes from is looked at
// first: who is not Vezgo learns nothing of clients.
func (p *Provider) Admit(d *provider.Delivery) (clientID string, err error) {
	if p.mode == provider.ModeEnforce {
		if failure := p.verify(d); failure != nil {
			return "", failure
		}
	}
	if err := p.checkURLSecret(d); err != nil {
		return "", err
	}
	return p.client(d)
}

// AnyClient implements provider.Provider.
func (p *Provider) AnyClient() bool { return len(p.clients) == 0 }

// Authenticate implements provider.Provider. Nothing of it depends on the body.
func (p *Provider) Authenticate(d *provider.Delivery) (provider.Identity, error) {
	clientID, err := p.Admit(d)
	if err != nil {
		return provider.Identity{}, err
	}
	var failure *provider.Refusal
	if p.mode != provider.ModeOff {
		failure = p.verify(d)
	}
	verification, err := p.mode.Verification(webhookgatewayv1.VerificationMethod_VERIFICATION_METHOD_SOURCE_ADDRESS, "", failure)
	if err != nil {
		return provider.Identity{}, err
	}
	return provider.Identity{ClientID: clientID, Verification: verification, Failure: failure}, nil
}

// client returns the client of a delivery. A delivery without the header is not
// Vezgo's, and is refused; but with verification off the path may name the client.
// A delivery that cannot be attributed is refused in every mode.
func (p *Provider) client(d *provider.Delivery) (string, error) {
	var id string
	switch values := d.Header[clientHeader]; {
	case len(values) > 1:
		return "", refuse(webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_ID_MISMATCH,
			"the header x-client-id is there more than once")
	case len(values) == 1 && values[0] != "":
		id = values[0]
		if d.ClientID != "" && d.ClientID != id {
			return "", refuse(webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_ID_MISMATCH,
				"the path and the header x-client-id name different clients")
		}
	case p.mode == provider.ModeOff && d.ClientID != "":
		id = d.ClientID
	default:
		return "", refuse(webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_ID_MISSING,
			"the header x-client-id is missing: every request of Vezgo carries it")
	}
	if err := provider.CheckClientID(id); err != nil {
		return "", refuse(webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_NOT_ALLOWED, err.Error())
	}
	if len(p.clients) > 0 && !p.clients[id] {
		return "", refuse(webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_NOT_ALLOWED,
			"the client is not one of the configured ones: see providers.vezgo.clients")
	}
	return id, nil
}

// verify returns why a delivery is not authentic, if it is not. The message does not
// say which address was seen: it may be one of the operator's own proxies. The log
// does.
func (p *Provider) verify(d *provider.Delivery) *provider.Refusal {
	if p.isSource(d) {
		return nil
	}
	return refuse(webhookgatewayv1.ErrorReason_ERROR_REASON_SOURCE_NOT_ALLOWED,
		"the delivery did not come from one of providers.vezgo.source_addresses: if a proxy stands before the gateway, name it in webhooks.trusted_proxies")
}

// checkURLSecret refuses a delivery without the secret in its URL, in ModeReport
// too.
func (p *Provider) checkURLSecret(d *provider.Delivery) error {
	if p.urlSecret.IsZero() || p.mode == provider.ModeOff {
		return nil
	}
	values := d.Query[secretQueryKey]
	if len(values) != 1 || !p.urlSecret.Equal(values[0]) {
		return refuse(webhookgatewayv1.ErrorReason_ERROR_REASON_SHARED_SECRET_MISMATCH,
			"the query parameter `secret` of the webhook URL is missing, repeated or wrong: see providers.vezgo.url_secret")
	}
	return nil
}

func (p *Provider) isSource(d *provider.Delivery) bool {
	for _, prefix := range p.sources {
		if prefix.Contains(d.Source) {
			return true
		}
	}
	return false
}

func refuse(reason webhookgatewayv1.ErrorReason, message string) *provider.Refusal {
	return &provider.Refusal{Reason: reason, Message: message}
}
