// Package finicity is the provider Finicity (Mastercard Open Finance) Connect.
//
// Finicity names no client in a delivery, so the operator puts the client's id
// into the webhook URL. It signs the raw body with the Partner Secret.
package finicity

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

// Name is the segment of the webhook path.
const Name = "finicity"

// Config is who sends what.
type Config struct {
	// Enabled reports whether deliveries of Finicity are received.
	Enabled bool `yaml:"enabled"`
	// Verification applies to clients that do not set their own.
	Verification provider.Mode `yaml:"verification"`
	// Clients by client id, as the webhook URL names it.
	Clients map[string]ClientConfig `yaml:"clients"`
	// Canary is what the gateway's own canary signs with, whose deliveries belong to
	// provider.CanaryClientID. They are verified whatever Verification is. Zero: there is
	// none. No file has it.
	Canary secret.Secret `yaml:"-"`
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

// canaryKey is the name of the canary's secret in its events.
const canaryKey = "canary"

// DefaultConfig enforces verification and is not enabled.
func DefaultConfig() Config { return Config{} }

// Validate returns all that is wrong with the configuration, if it is enabled.
func (c Config) Validate() error {
	if !c.Enabled {
		return nil
	}
	if len(c.Clients) == 0 {
		return fielderr.New("clients", "name at least one client, the {client_id} of its webhook URL /v1/webhooks/%s/{client_id}", Name)
	}
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(c.Clients)) {
		problems := errors.Join(checkClientID(id), c.Clients[id].validate(c.Verification))
		errs = append(errs, fielderr.In("clients."+fielderr.Key(id), problems))
	}
	return errors.Join(errs...)
}

// checkClientID returns what is wrong with a client id, which is a segment of the
// path of the webhook URL.
func checkClientID(id string) error {
	if strings.Contains(id, "/") || id == "." || id == ".." {
		return errors.New("no webhook URL can name this client: choose an id without a slash, other than one dot or two")
	}
	return provider.CheckClientID(id)
}

func (c ClientConfig) validate(mode provider.Mode) error {
	mode = c.mode(mode)
	var errs []error
	if len(c.Secrets) == 0 && mode != provider.ModeOff {
		errs = append(errs, fielderr.New("secrets", "give the Partner Secret under a name, or set verification to %s", provider.ModeOff))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Secrets)) {
		if name == "" {
			errs = append(errs, fielderr.New("secrets", "a secret has no name"))
		}
		errs = append(errs, fielderr.In("secrets."+fielderr.Key(name), c.Secrets[name].Check()))
	}
	if c.RequiredHeader != nil {
		errs = append(errs, fielderr.In("required_header", c.RequiredHeader.validate()))
	}
	return errors.Join(errs...)
}

func (h RequiredHeader) validate() error {
	var name error
	switch {
	case h.Name == "":
		name = fielderr.New("name", "name the header")
	case !httpguts.ValidHeaderFieldName(h.Name):
		name = fielderr.New("name", "%q is no name of an HTTP header: choose letters, digits and hyphens", h.Name)
	case http.CanonicalHeaderKey(h.Name) == signatureHeader:
		name = fielderr.New("name", "%s is the signature, choose another header", signatureHeader)
	}
	return errors.Join(name, fielderr.In("secret", h.Secret.Check()))
}

// Modes returns the verification mode of each client.
func (c Config) Modes() []provider.ModeOf {
	modes := make([]provider.ModeOf, 0, len(c.Clients))
	for _, id := range slices.Sorted(maps.Keys(c.Clients)) {
		modes = append(modes, provider.ModeOf{Provider: Name, ClientID: id, Mode: c.Clients[id].mode(c.Verification)})
	}
	return modes
}

// mode returns the mode of the client, given that of the provider.
func (c ClientConfig) mode(fallback provider.Mode) provider.Mode {
	if c.Verification != nil {
		return *c.Verification
	}
	return fallback
}

// Provider receives the deliveries of Finicity.
type Provider struct {
	clients       map[string]*client
	secretHeaders []string
	decoder       *decoder
}

var _ provider.Provider = (*Provider)(nil)

// New returns the provider, or an error if the configuration is not valid.
func New(config Config) (*Provider, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	p := &Provider{
		clients:       make(map[string]*client, len(config.Clients)),
		secretHeaders: config.SecretHeaders(),
		decoder:       newDecoder(),
	}
	for id, c := range config.Clients {
		p.clients[id] = newClient(c, config.Verification)
	}
	if !config.Canary.IsZero() {
		p.clients[provider.CanaryClientID] = newClient(ClientConfig{Secrets: map[string]secret.Secret{canaryKey: config.Canary}}, provider.ModeEnforce)
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
