package jetstream

import (
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// Config says where the stream is.
type Config struct {
	// URLs of the servers, of which one that can be reached is enough.
	URLs []string `yaml:"urls"`
	// Stream is the name of the stream. One that does not exist is created.
	Stream string `yaml:"stream"`
	// Replicas is how many servers have a copy of the stream: 1, 3 or 5. More than half of
	// them must be up to take a commit.
	Replicas int `yaml:"replicas"`
	// Credentials is the path of a file with a JWT and its key, as `nsc` makes it; NKey that
	// of a file with the seed of a key alone.
	Credentials string `yaml:"credentials"`
	NKey        string `yaml:"nkey"`
	// TLS: see the URLs for tls://.
	TLS TLS `yaml:"tls"`
}

// TLS is how the servers are spoken to. The files are read again at each connection.
type TLS struct {
	// CA is the path of the roots that vouch for the servers; those of the machine if empty.
	CA string `yaml:"ca"`
	// Certificate and Key are the paths of a client certificate.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// DefaultConfig returns a configuration that lacks URLs.
func DefaultConfig() Config { return Config{Stream: "webhook-gateway", Replicas: 3} }

var streamName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Validate returns all that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if len(c.URLs) == 0 {
		errs = append(errs, fielderr.New("urls", "give the URLs of the servers, such as nats://nats-1:4222"))
	}
	if !streamName.MatchString(c.Stream) {
		errs = append(errs, fielderr.New("stream", "%q is no name of a stream: it has 1 to 64 letters, digits, - and _", c.Stream))
	}
	if c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		errs = append(errs, fielderr.New("replicas", "must be 1, 3 or 5, not %d: an even number survives no more failures than one less", c.Replicas))
	}
	if c.Credentials != "" && c.NKey != "" {
		errs = append(errs, fielderr.New("nkey", "credentials has a key already: give one of them"))
	}
	if (c.TLS.Certificate == "") != (c.TLS.Key == "") {
		errs = append(errs, fielderr.New("tls", "give both certificate and key, or neither"))
	}
	return errors.Join(errs...)
}

func (c Config) servers() string { return strings.Join(c.URLs, ",") }

func (c Config) subject() string { return c.Stream + ".commit" }

// options are those of a connection that is kept up for ever, and never sends later what
// could not be sent at once: see Append.
func (c Config) options(logger *slog.Logger) ([]nats.Option, error) {
	options := []nats.Option{
		nats.Name("webhook-gateway"),
		nats.ReconnectBufSize(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.MaxReconnects(-1),
		nats.PingInterval(time.Second),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(2 * time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				logger.Warn("the connection to NATS broke off: it is tried again", "error", err)
			}
		}),
		nats.ReconnectHandler(func(conn *nats.Conn) {
			logger.Info("connected to NATS again", "server", conn.ConnectedUrlRedacted())
		}),
	}
	if c.Credentials != "" {
		options = append(options, nats.UserCredentials(c.Credentials))
	}
	if c.NKey != "" {
		option, err := nats.NkeyOptionFromSeed(c.NKey)
		if err != nil {
			return nil, fielderr.New("nkey", "%v", err)
		}
		options = append(options, option)
	}
	if c.TLS.CA != "" {
		options = append(options, nats.RootCAs(c.TLS.CA))
	}
	if c.TLS.Certificate != "" {
		options = append(options, nats.ClientCert(c.TLS.Certificate, c.TLS.Key))
	}
	return options, nil
}
