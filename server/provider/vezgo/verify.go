package vezgo

import (
	"fmt"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

const (
	clientHeader   = "X-Client-Id"
	secretQueryKey = "secret"
)

// Authenticate implements provider.Provider.
func (p *Provider) Authenticate(d *provider.Delivery) (provider.Identity, error) {
	clientID, unnamed, refusal := p.client(d)
	if refusal != nil {
		return provider.Identity{}, refusal
	}
	var failure *provider.Refusal
	if p.mode != provider.ModeOff {
		if failure = unnamed; failure == nil {
			failure = p.verify(d)
		}
	}
	verification, err := p.mode.Verification(webhookgatewayv1.VerificationMethod_VERIFICATION_METHOD_SOURCE_ADDRESS, "", failure)
	if err != nil {
		return provider.Identity{}, err
	}
	if err := p.checkURLSecret(d); err != nil {
		return provider.Identity{}, err
	}
	return provider.Identity{ClientID: clientID, Verification: verification, Failure: failure}, nil
}

// client returns the client of a delivery. A delivery without the header is not
// Vezgo's, and is refused; but with verification off the path may name the client.
// A delivery that cannot be attributed is refused in every mode.
func (p *Provider) client(d *provider.Delivery) (id string, failure, refusal *provider.Refusal) {
	values := d.Header[clientHeader]
	switch {
	case len(values) > 1:
		return "", nil, refuse(webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_ID_MISMATCH,
			"the header x-client-id is there more than once")
	case len(values) == 1 && values[0] != "":
		id = values[0]
		if d.ClientID != "" && d.ClientID != id {
			return "", nil, refuse(webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_ID_MISMATCH,
				"the path and the header x-client-id name different clients")
		}
	default:
		failure = refuse(webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_ID_MISSING,
			"the header x-client-id is missing: every request of Vezgo carries it")
		if d.ClientID == "" {
			return "", nil, failure
		}
		id = d.ClientID
	}
	if err := provider.CheckClientID(id); err != nil {
		return "", nil, refuse(webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_NOT_ALLOWED, err.Error())
	}
	if len(p.clients) > 0 && !p.clients[id] {
		return "", nil, refuse(webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_NOT_ALLOWED,
			"the client is not one of the configured ones: see vezgo.clients")
	}
	return id, failure, nil
}

// verify returns why a delivery is not authentic, if it is not.
func (p *Provider) verify(d *provider.Delivery) *provider.Refusal {
	if !p.isSource(d) {
		from := "an unknown address"
		if d.Source.IsValid() {
			from = d.Source.String()
		}
		return refuse(webhookgatewayv1.ErrorReason_ERROR_REASON_SOURCE_NOT_ALLOWED,
			fmt.Sprintf("the delivery came from %s, which is none of vezgo.source_addresses: if that is your proxy, name it in trusted_proxies", from))
	}
	return nil
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
			"the query parameter `secret` of the webhook URL is missing, repeated or wrong: see vezgo.url_secret")
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
