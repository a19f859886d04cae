// Package all is the list of providers. To add one, add a line to each function.
package all

import (
	"errors"
	"fmt"

	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/provider/vezgo"
)

// Config is the configuration of every provider.
type Config struct {
	Finicity finicity.Config `yaml:"finicity"`
	Vezgo    vezgo.Config    `yaml:"vezgo"`
}

// DefaultConfig enables no provider.
func DefaultConfig() Config {
	return Config{Finicity: finicity.DefaultConfig(), Vezgo: vezgo.DefaultConfig()}
}

// Validate names the first key of each provider that has to change.
func (c Config) Validate() error {
	var errs []error
	if err := c.Finicity.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("finicity.%w", err))
	}
	if err := c.Vezgo.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("vezgo.%w", err))
	}
	if !c.Finicity.Enabled && !c.Vezgo.Enabled {
		errs = append(errs, errors.New("no provider is enabled: set finicity.enabled or vezgo.enabled to true"))
	}
	return errors.Join(errs...)
}

// New returns the enabled providers, or an error if the configuration is not
// valid.
func New(config Config) ([]provider.Provider, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	var providers []provider.Provider
	if config.Finicity.Enabled {
		p, err := finicity.New(config.Finicity)
		if err != nil {
			return nil, fmt.Errorf("finicity.%w", err)
		}
		providers = append(providers, p)
	}
	if config.Vezgo.Enabled {
		p, err := vezgo.New(config.Vezgo)
		if err != nil {
			return nil, fmt.Errorf("vezgo.%w", err)
		}
		providers = append(providers, p)
	}
	return providers, nil
}

// Senders returns a sender for each provider, enabled or not.
func Senders() []provider.Sender {
	return []provider.Sender{finicity.Sender{}, vezgo.Sender{}}
}
