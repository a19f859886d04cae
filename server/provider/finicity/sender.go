package finicity

import (
	"bytes"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

//go:embed samples/*.json
var samples embed.FS

// sampleEventID is the event id of every sample that has one.
const sampleEventID = "1700000000000-0123456789abcdef01234567"

// Sender plays Finicity.
type Sender struct{}

var _ provider.Sender = Sender{}

// Name implements provider.Sender.
func (Sender) Name() string { return Name }

// ID implements provider.Sender.
func (Sender) ID() webhookgatewayv1.Provider { return webhookgatewayv1.Provider_PROVIDER_FINICITY }

// Samples implements provider.Sender.
func (Sender) Samples() []provider.Sample {
	var types []provider.Sample
	for _, t := range eventTypes() {
		types = append(types, provider.Sample{TypeName: t.name, Type: t.id})
	}
	return provider.ReadSamples(samples, types)
}

// Session implements provider.Sender: a session with OAuth, as captured.
func (Sender) Session() []string {
	return []string{"started", "institutionSupported", "adding", "processing", "added", "done"}
}

// Fresh implements provider.Sender.
func (Sender) Fresh(body []byte) []byte {
	var random [12]byte
	rand.Read(random[:])
	id := strconv.FormatInt(time.Now().UnixMilli(), 10) + "-" + hex.EncodeToString(random[:])
	return bytes.Replace(body, []byte(sampleEventID), []byte(id), 1)
}

// Request implements provider.Sender. The secret is a Partner Secret.
func (Sender) Request(body []byte, clientID string, s secret.Secret) (target string, header http.Header) {
	header = http.Header{"Content-Type": {"application/json"}}
	if !s.IsZero() {
		header.Set(signatureHeader, Sign(s, body))
	}
	return "/v1/webhooks/" + Name + "/" + url.PathEscape(clientID), header
}
