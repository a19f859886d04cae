// Package all is the list of providers. To add one, add a line to Config and one
// to its list.
package all

import (
	"errors"
	"strings"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/provider/vezgo"
)

// Config is the configuration of every provider, each under its name.
type Config struct {
	Finicity finicity.Config `yaml:"finicity"`
	Vezgo    vezgo.Config    `yaml:"vezgo"`
}

func (c *Config) list() []entry {
	return []entry{
		entryOf(finicity.Sender{}, &c.Finicity, c.Finicity.Enabled, finicity.DefaultConfig, finicity.New),
		entryOf(vezgo.Sender{}, &c.Vezgo, c.Vezgo.Enabled, vezgo.DefaultConfig, vezgo.New),
	}
}

// An entry is a provider in the list.
type entry struct {
	sender   provider.Sender
	enabled  bool
	reset    func()
	validate func() error
	secrets  func() []string
	modes    func() []provider.ModeOf
	make     func() (provider.Provider, error)
}

// A config is the configuration of one provider.
type config interface {
	// Validate returns all that is wrong with it, if it is enabled.
	Validate() error
	// SecretHeaders returns the canonical names of the headers that hold a required
	// secret.
	SecretHeaders() []string
	// Modes returns the verification modes.
	Modes() []provider.ModeOf
}

func entryOf[C config, P provider.Provider](
	sender provider.Sender, config *C, enabled bool, fallback func() C, construct func(C) (P, error),
) entry {
	return entry{
		sender:   sender,
		enabled:  enabled,
		reset:    func() { *config = fallback() },
		validate: func() error { return (*config).Validate() },
		secrets:  func() []string { return (*config).SecretHeaders() },
		modes:    func() []provider.ModeOf { return (*config).Modes() },
		make:     func() (provider.Provider, error) { return construct(*config) },
	}
}

// DefaultConfig enables no provider.
func DefaultConfig() Config {
	var c Config
	for _, e := range c.list() {
		e.reset()
	}
	return c
}

// Validate returns all that is wrong with the configuration of the enabled
// providers.
func (c Config) Validate() error {
	var errs []error
	for _, e := range c.list() {
		errs = append(errs, fielderr.In(e.sender.Name(), e.validate()))
	}
	return errors.Join(append(errs, c.checkEnabled())...)
}

// SecretHeaders returns the canonical names of the headers that hold a required
// secret, whichever provider is enabled: they must not be stored.
func (c Config) SecretHeaders() []string {
	var names []string
	for _, e := range c.list() {
		names = append(names, e.secrets()...)
	}
	return names
}

// Modes returns the verification modes of the enabled providers, in the order of
// providers and clients.
func (c Config) Modes() []provider.ModeOf {
	var modes []provider.ModeOf
	for _, e := range c.list() {
		if e.enabled {
			modes = append(modes, e.modes()...)
		}
	}
	return modes
}

// checkEnabled returns an error if no provider is enabled.
func (c Config) checkEnabled() error {
	var keys []string
	for _, e := range c.list() {
		if e.enabled {
			return nil
		}
		keys = append(keys, e.sender.Name()+".enabled")
	}
	return fielderr.New("", "no provider is enabled: set %s to true", strings.Join(keys, " or "))
}

// New returns the enabled providers, or all that is wrong with the configuration.
// Each provider validates its own.
func New(config Config) ([]provider.Provider, error) {
	var providers []provider.Provider
	errs := []error{config.checkEnabled()}
	for _, e := range config.list() {
		if !e.enabled {
			continue
		}
		p, err := e.make()
		if err != nil {
			errs = append(errs, fielderr.In(e.sender.Name(), err))
			continue
		}
		providers = append(providers, p)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return providers, nil
}

// Senders returns a sender for each provider, enabled or not.
func Senders() []provider.Sender {
	var c Config
	var senders []provider.Sender
	for _, e := range c.list() {
		senders = append(senders, e.sender)
	}
	return senders
}
