// Package all is the list of providers. To add one, add a line to each function.
package all

import (
	"errors"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
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

// Validate returns all that is wrong with the configuration of the enabled
// providers.
func (c Config) Validate() error {
	errs := []error{
		fielderr.In(finicity.Name, c.Finicity.Validate()),
		fielderr.In(vezgo.Name, c.Vezgo.Validate()),
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
			return nil, fielderr.In(finicity.Name, err)
		}
		providers = append(providers, p)
	}
	if config.Vezgo.Enabled {
		p, err := vezgo.New(config.Vezgo)
		if err != nil {
			return nil, fielderr.In(vezgo.Name, err)
		}
		providers = append(providers, p)
	}
	return providers, nil
}

// Senders returns a sender for each provider, enabled or not.
func Senders() []provider.Sender {
	return []provider.Sender{finicity.Sender{}, vezgo.Sender{}}
}
