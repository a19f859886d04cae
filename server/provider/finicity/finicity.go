// Package finicity is the provider Finicity (Mastercard Open Finance) Connect.
//
// Finicity names no client in a delivery, so the operator puts the client's id
// into the webhook URL. It signs the raw body with the Partner Secret.
package finicity

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

// Name is the segment of the webhook path.
const Name = "finicity"

// Config says who sends what.
type Config struct {
	// Enabled says whether deliveries of Finicity are received.
	Enabled bool `yaml:"enabled"`
	// Verification applies to clients that do not set their own.
	Verification provider.Mode `yaml:"verification"`
	// Clients by client id, as the webhook URL names it.
	Clients map[string]ClientConfig `yaml:"clients"`
}

// ClientConfig is one client.
type ClientConfig struct {
	// Secrets are the Partner Secrets by a name of the operator's choice, which
	// events carry as `verification.key_id`. Several of them overlap while a secret
	// is rotated.
	Secrets map[string]secret.Secret `yaml:"secrets"`
	// Verification overrides that of the provider, for a client id of its own for
	// what Finicity does not sign, such as report notifications.
	Verification *provider.Mode `yaml:"verification"`
	// RequiredHeader is a header that every delivery must carry, given to Finicity
	// as `webhookHeaders`. The signature does not cover it. It is required unless
	// Verification is off.
	RequiredHeader *RequiredHeader `yaml:"required_header"`
}

// RequiredHeader is a header with a secret.
type RequiredHeader struct {
	// Name of the header.
	Name string `yaml:"name"`
	// Secret is its value.
	Secret secret.Secret `yaml:"secret"`
}

// DefaultConfig enforces verification and is not enabled.
func DefaultConfig() Config { return Config{} }

// Validate names the first key that has to change.
func (c Config) Validate() error {
	if !c.Enabled {
		return nil
	}
	if len(c.Clients) == 0 {
		return fmt.Errorf("clients: name at least one client, the {client_id} of its webhook URL /v1/webhooks/%s/{client_id}", Name)
	}
	for _, id := range slices.Sorted(maps.Keys(c.Clients)) {
		if err := provider.CheckClientID(id); err != nil {
			return fmt.Errorf("clients.%q: %w", id, err)
		}
		if err := c.Clients[id].validate(c.Verification); err != nil {
			return fmt.Errorf("clients.%s.%w", id, err)
		}
	}
	return nil
}

func (c ClientConfig) validate(mode provider.Mode) error {
	if c.Verification != nil {
		mode = *c.Verification
	}
	if len(c.Secrets) == 0 && mode != provider.ModeOff {
		return fmt.Errorf("secrets: give the Partner Secret under a name, or set verification to %s", provider.ModeOff)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Secrets)) {
		if name == "" {
			return errors.New("secrets: a secret has no name")
		}
		if c.Secrets[name].IsZero() {
			return fmt.Errorf("secrets.%s: the secret is empty", name)
		}
	}
	if header := c.RequiredHeader; header != nil {
		switch {
		case header.Name == "":
			return errors.New("required_header.name: name the header")
		case http.CanonicalHeaderKey(header.Name) == signatureHeader:
			return fmt.Errorf("required_header.name: %s is the signature, choose another header", signatureHeader)
		case header.Secret.IsZero():
			return errors.New("required_header.secret: the secret is empty")
		}
	}
	return nil
}

// Provider receives the deliveries of Finicity.
type Provider struct {
	clients map[string]*client
	decoder *decoder
}

var _ provider.Provider = (*Provider)(nil)

// New returns the provider, or an error if the configuration is not valid.
func New(config Config) (*Provider, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	p := &Provider{clients: make(map[string]*client, len(config.Clients)), decoder: newDecoder()}
	for id, c := range config.Clients {
		p.clients[id] = newClient(c, config.Verification)
	}
	return p, nil
}

// Name implements provider.Provider.
func (*Provider) Name() string { return Name }

// ID implements provider.Provider.
func (*Provider) ID() webhookgatewayv1.Provider {
	return webhookgatewayv1.Provider_PROVIDER_FINICITY
}

// Decode implements provider.Provider.
func (p *Provider) Decode(body []byte) (provider.Decoded, error) { return p.decoder.decode(body) }
