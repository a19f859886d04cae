package vezgo

import (
	"embed"
	"net/http"
	"net/url"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

//go:embed samples/*.json
var samples embed.FS

// Sender plays Vezgo, but for the address that it sends from.
type Sender struct{}

var _ provider.Sender = Sender{}

// Name implements provider.Sender.
func (Sender) Name() string { return Name }

// ID implements provider.Sender.
func (Sender) ID() webhookgatewayv1.Provider { return webhookgatewayv1.Provider_PROVIDER_VEZGO }

// Samples implements provider.Sender.
func (Sender) Samples() []provider.Sample {
	return provider.ReadSamples(samples, []provider.Sample{
		{TypeName: hookSyncAccount, Type: webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ACCOUNT},
		{TypeName: hookSyncError, Type: webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ERROR},
	})
}

// Session implements provider.Sender: a failed sync, and one that succeeds.
func (Sender) Session() []string { return []string{hookSyncError, hookSyncAccount} }

// Fresh implements provider.Sender. Vezgo has no event ids: every delivery is new.
func (Sender) Fresh(body []byte) []byte { return body }

// Request implements provider.Sender. The secret is that of the URL.
func (Sender) Request(_ []byte, clientID string, s secret.Secret) (target string, header http.Header) {
	target = "/v1/webhooks/" + Name
	if !s.IsZero() {
		target += "?" + url.Values{secretQueryKey: {s.Reveal()}}.Encode()
	}
	return target, http.Header{"Content-Type": {"application/json"}, clientHeader: {clientID}}
}
