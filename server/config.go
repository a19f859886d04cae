package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/eventservice"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

// Config is the configuration of a gateway: one YAML file. Each section belongs
// to the package that it configures.
type Config struct {
	// Listen says where the three listeners are.
	Listen Listen `yaml:"listen"`
	// Log is the gateway's own log, on stderr.
	Log Log `yaml:"log"`
	// Webhooks configures the public listener.
	Webhooks webhook.Config `yaml:"webhooks"`
	// Providers configures who may deliver and how that is verified.
	Providers all.Config `yaml:"providers"`
	// Store configures the event log.
	Store Store `yaml:"store"`
	// Subscribe configures EventService.
	Subscribe eventservice.Config `yaml:"subscribe"`
	// Shutdown configures how the gateway ends.
	Shutdown Shutdown `yaml:"shutdown"`
	// Debug has what is useful for finding faults.
	Debug Debug `yaml:"debug"`
}

// Listen has the addresses of the listeners, as `host:port`. Without a host they
// listen on every interface; port 0 picks a free one.
type Listen struct {
	// Webhooks is for the providers. Only this one is exposed to the internet.
	Webhooks string `yaml:"webhooks"`
	// GRPC serves EventService, health and reflection.
	GRPC string `yaml:"grpc"`
	// InternalHTTP serves the REST mirror, OpenAPI, metrics and health.
	InternalHTTP string `yaml:"internal_http"`
}

// Log configures the gateway's own log.
type Log struct {
	// Level is the least severe level that is logged.
	Level slog.Level `yaml:"level"`
	// Format is `text` or `json`.
	Format string `yaml:"format"`
}

// EnginePebble is the embedded engine of the event log.
const EnginePebble = "pebble"

// Store configures the event log.
type Store struct {
	// Engine is EnginePebble, the only one at present.
	Engine string `yaml:"engine"`

	pebblelog.Config `yaml:",inline"`
}

// Shutdown configures how the gateway ends.
type Shutdown struct {
	// Timeout bounds the whole shutdown. What is not finished then is cut off.
	Timeout time.Duration `yaml:"timeout"`
	// Delay is how long the gateway goes on serving while it says that it is not
	// ready, so that a load balancer stops sending. It is a part of Timeout.
	Delay time.Duration `yaml:"delay"`
}

// Debug has what is useful for finding faults.
type Debug struct {
	// Pprof serves /debug/pprof/ on the internal HTTP listener.
	Pprof bool `yaml:"pprof"`
}

// DefaultConfig returns the configuration that is in force where nothing else is
// given.
func DefaultConfig() Config {
	config := Config{
		Listen:    Listen{Webhooks: ":8080", GRPC: ":9090", InternalHTTP: ":8081"},
		Log:       Log{Level: slog.LevelInfo, Format: "text"},
		Webhooks:  webhook.DefaultConfig(),
		Providers: all.DefaultConfig(),
		Store:     Store{Engine: EnginePebble, Config: pebblelog.DefaultConfig()},
		Subscribe: eventservice.DefaultConfig(),
		Shutdown:  Shutdown{Timeout: 30 * time.Second},
	}
	config.Store.Path = "data"
	return config
}

// Validate returns all that is wrong with the configuration, one line for each
// problem, beginning with the path of the key.
func (c Config) Validate() error {
	return errors.Join(
		within("listen", c.Listen, c.Listen.validate()),
		within("log", c.Log, c.Log.validate()),
		within("webhooks", c.Webhooks, c.Webhooks.Validate()),
		within("providers", c.Providers, c.Providers.Validate()),
		within("store", c.Store, c.Store.validate()),
		within("subscribe", c.Subscribe, c.Subscribe.Validate()),
		within("shutdown", c.Shutdown, c.Shutdown.validate()),
	)
}

func (l Listen) validate() error {
	var errs []error
	for _, a := range []struct{ key, address string }{
		{"webhooks", l.Webhooks}, {"grpc", l.GRPC}, {"internal_http", l.InternalHTTP},
	} {
		if _, _, err := net.SplitHostPort(a.address); err != nil {
			errs = append(errs, fmt.Errorf("%s: %q is no address: give host:port, such as :8080 or 127.0.0.1:8080", a.key, a.address))
		}
	}
	return errors.Join(errs...)
}

func (l Log) validate() error {
	if l.Format != "text" && l.Format != "json" {
		return fmt.Errorf("format: %q is no format: choose text or json", l.Format)
	}
	return nil
}

func (s Store) validate() error {
	if s.Engine != EnginePebble {
		return fmt.Errorf("engine: %q is no engine: choose %s", s.Engine, EnginePebble)
	}
	return s.Config.Validate() //nolint:staticcheck // the name says that it is not the gateway's
}

func (s Shutdown) validate() error {
	var errs []error
	if s.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("timeout: %v is not positive: give a duration such as 30s", s.Timeout))
	}
	if s.Delay < 0 || s.Delay > s.Timeout/2 {
		errs = append(errs, fmt.Errorf("delay: %v is not between 0 and half of shutdown.timeout (%v)", s.Delay, s.Timeout))
	}
	return errors.Join(errs...)
}

// within puts the key of a section in front of each problem that its package
// found: before the key that the problem begins with, if it begins with one.
func within(name string, section any, err error) error {
	if err == nil {
		return nil
	}
	var errs []error
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSuffix(line, "\n")
		first := line[:strings.IndexFunc(line+" ", func(r rune) bool { return r != '_' && !unicode.IsLetter(r) })]
		separator := ": "
		if slices.ContainsFunc(fields(reflect.TypeOf(section)), func(f field) bool { return f.name == first }) {
			separator = "."
		}
		errs = append(errs, errors.New(name+separator+line))
	}
	return errors.Join(errs...)
}
