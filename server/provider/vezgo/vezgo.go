// Package vezgo is the provider Vezgo.
//
// Vezgo signs nothing and sends no event id. A delivery is authentic when it
// comes from one of the provider's four addresses, and names its client in the
// header x-client-id.
package vezgo

import (
	"errors"
	"fmt"
	"net/netip"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

// Name is the segment of the webhook path.
const Name = "vezgo"

// Source networks must have at least so many bits, or be of this machine.
const (
	minBits4     = 16
	minBits6     = 48
	loopbackBits = 8
)

// Config is who sends what.
type Config struct {
	// Enabled reports whether deliveries of Vezgo are received.
	Enabled bool `yaml:"enabled"`
	// Verification is what is done with a delivery that is not authentic.
	Verification provider.Mode `yaml:"verification"`
	// Clients are the client ids that are accepted; empty for any, which ModeEnforce
	// takes only with AnyClient.
	Clients []string `yaml:"clients"`
	// AnyClient accepts every client id: deliveries of any customer of Vezgo are then
	// verified, because all have the same source addresses.
	AnyClient bool `yaml:"any_client"`
	// SourceAddresses are the addresses, or networks in CIDR notation, that Vezgo
	// sends from.
	SourceAddresses []string `yaml:"source_addresses"`
	// URLSecret is the value of `?secret=` that the webhook URL must have. None is
	// asked for if it is not set, or if Verification is off.
	URLSecret secret.Secret `yaml:"url_secret"`
}

// DefaultConfig enforces the four addresses that the provider documents, and is
// not enabled.
func DefaultConfig() Config {
	return Config{SourceAddresses: []string{"52.60.234.183", "52.60.240.87", "52.60.241.79", "52.60.242.161"}}
}

// Validate returns all that is wrong with the configuration, if it is enabled.
func (c Config) Validate() error {
	if !c.Enabled {
		return nil
	}
	var errs []error
	for i, id := range c.Clients {
		errs = append(errs, fielderr.In(fmt.Sprintf("clients[%d]", i), provider.CheckClientID(id)))
	}
	switch {
	case c.AnyClient && len(c.Clients) > 0:
		errs = append(errs, fielderr.New("any_client", "has no meaning beside clients: give one of them"))
	case c.Verification == provider.ModeEnforce && !c.AnyClient && len(c.Clients) == 0:
		errs = append(errs, fielderr.New("clients",
			"give your client ids: Vezgo sends for all its customers from the same addresses, so these do not tell whose delivery it is; or set any_client to true to accept any"))
	}
	if len(c.SourceAddresses) == 0 && c.Verification != provider.ModeOff {
		errs = append(errs, fielderr.New("source_addresses",
			"give the addresses that Vezgo sends from, or leave out the key for the documented ones"))
	}
	switch {
	case c.URLSecret.IsUnread(): // it would not be asked for
		errs = append(errs, fielderr.New("url_secret", "the secret was not read"))
	case !c.URLSecret.IsZero():
		errs = append(errs, fielderr.In("url_secret", c.URLSecret.Check()))
	}
	_, err := c.sources()
	return errors.Join(append(errs, err)...)
}

// Modes returns the verification mode, which is that of every client.
func (c Config) Modes() []provider.ModeOf {
	return []provider.ModeOf{{Provider: Name, Mode: c.Verification}}
}

// sources returns the networks of SourceAddresses. Its error names every one that
// is none.
func (c Config) sources() ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, len(c.SourceAddresses))
	var errs []error
	for i, text := range c.SourceAddresses {
		prefix, err := parseSource(text)
		errs = append(errs, fielderr.In(fmt.Sprintf("source_addresses[%d]", i), err))
		prefixes[i] = prefix
	}
	return prefixes, errors.Join(errs...)
}

func parseSource(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil {
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network such as 192.0.2.0/24", text)
	}
	if prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("write the IPv4-mapped network %q as IPv4", text)
	}
	narrowest := minBits4
	if prefix.Addr().Is6() {
		narrowest = minBits6
	}
	thisMachine := prefix.Addr().IsLoopback() && prefix.Bits() >= loopbackBits
	if prefix.Bits() < narrowest && !thisMachine {
		return netip.Prefix{}, fmt.Errorf("%q is too wide: nothing but the source address tells that a delivery is Vezgo's, so whoever has one of these could send what counts as verified. "+
			"Give the addresses, or networks of /%d (IPv6: /%d) or narrower; to accept deliveries from anywhere set verification to report or off", text, minBits4, minBits6)
	}
	return prefix, nil
}

// Provider receives the deliveries of Vezgo.
type Provider struct {
	mode      provider.Mode
	clients   map[string]bool
	sources   []netip.Prefix
	urlSecret secret.Secret
	decoder   *decoder
}

var _ provider.Provider = (*Provider)(nil)

// New returns the provider, or an error if the configuration is not valid.
func New(config Config) (*Provider, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	sources, err := config.sources()
	if err != nil {
		return nil, err
	}
	p := &Provider{
		mode:      config.Verification,
		clients:   make(map[string]bool, len(config.Clients)),
		sources:   sources,
		urlSecret: config.URLSecret,
		decoder:   newDecoder(),
	}
	for _, id := range config.Clients {
		p.clients[id] = true
	}
	return p, nil
}

// Name implements provider.Provider.
func (*Provider) Name() string { return Name }

// ID implements provider.Provider.
func (*Provider) ID() webhookgatewayv1.Provider { return webhookgatewayv1.Provider_PROVIDER_VEZGO }

// Decode implements provider.Provider.
func (p *Provider) Decode(body []byte) (provider.Decoded, error) { return p.decoder.decode(body) }
