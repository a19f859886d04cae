package jetstream

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// Config says where the stream is.
type Config struct {
	// URLs of the servers, such as nats://nats-1:4222, or tls:// if they speak TLS alone. One
	// that can be reached is enough, but only those named here are tried at the start: name
	// all of them. A URL may have a user and a password, nats://user:password@nats-1:4222,
	// which are shown nowhere.
	URLs []string `yaml:"urls"`
	// Stream is the name of the stream. One that does not exist is created.
	Stream string `yaml:"stream"`
	// Replicas is how many servers have a copy of the stream: 1, 3 or 5. More than half of
	// them must be up to take a commit.
	Replicas int `yaml:"replicas"`
	// SyncAlways is the operator's word that every server is configured with
	//
	//	jetstream { sync_interval: always }
	//
	// which a client cannot find out. Without it a server acknowledges what it has not
	// synced: by default it syncs every two minutes, and a power loss of several servers
	// loses what they acknowledged since (of one node, in a test of Jepsen on NATS 2.12.1,
	// 131,418 of 930,005 acknowledged messages). Leave it false and each start warns.
	SyncAlways bool `yaml:"sync_always"`
	// Credentials is the path of a file with a JWT and its key, as `nsc` makes it; NKey that
	// of a file with the seed of a key alone. The files are read again at each connection.
	Credentials string `yaml:"credentials"`
	NKey        string `yaml:"nkey"`
	// TLS: it is used if a file is given, if the URL has tls://, or if the server asks for it.
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

// Validate returns all that is wrong with the configuration. It does not look at the files.
func (c Config) Validate() error {
	var errs []error
	if len(c.URLs) == 0 {
		errs = append(errs, fielderr.New("urls", "give the URLs of the servers, such as nats://nats-1:4222"))
	}
	for i, text := range c.URLs {
		u, err := url.Parse(text)
		// NOTE: neither the text nor the error is shown: both may have a password.
		if err != nil || u.Scheme != "nats" && u.Scheme != "tls" || u.Hostname() == "" {
			errs = append(errs, fielderr.New(fmt.Sprintf("urls[%d]", i),
				"is no URL of a NATS server: give one such as nats://nats-1:4222 or tls://nats-1:4222; in a user or a password, %%-escape what is not a letter or a digit"))
		}
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

func (c Config) subject() string { return c.Stream + ".commit" }
