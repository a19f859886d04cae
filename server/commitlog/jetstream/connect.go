package jetstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

const (
	// connectTimeout bounds each half of an attempt to connect: to be answered, and to be let in.
	connectTimeout = 2 * time.Second
	// openPause is the pause between attempts to open the log.
	openPause = 500 * time.Millisecond
)

// finalError is a failure to open that does not pass by itself.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// isFinal reports whether trying again is of no use.
func isFinal(err error) bool {
	var final finalError
	return errors.As(err, &final)
}

// persist tries until it works, fails for good, or the context ends. What was wrong with the last
// attempt is in the error; of one that the end of the context has cut off, only if it was the first.
func persist(ctx context.Context, logger *slog.Logger, try func(context.Context) error) error {
	var said commitlog.Repeated
	var last error
	for {
		err := try(ctx)
		if err == nil || isFinal(err) {
			return err
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		if ctx.Err() == nil && said.IsNews(err) {
			logger.Warn("the commit log cannot be opened yet: it is tried again", "error", err)
		}
		select {
		case <-time.After(openPause):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return fmt.Errorf("given up (%w): %w", context.Cause(ctx), last)
		}
	}
}

// checkFiles reads the files once, to say what is wrong with them before anything is connected.
func (c Config) checkFiles() error {
	var errs []error
	check := func(field, path string, try func([]byte) error) {
		if path == "" {
			return
		}
		contents, err := os.ReadFile(path) //nolint:gosec // the operator names the file
		if err == nil {
			err = try(contents)
		}
		if err != nil {
			errs = append(errs, fielderr.New(field, "%v", err))
		}
	}
	check("credentials", c.Credentials, func(contents []byte) error {
		_, err := nkeys.ParseDecoratedJWT(contents)
		if err == nil {
			_, err = nkeys.ParseDecoratedUserNKey(contents)
		}
		if err != nil {
			return fmt.Errorf("%s is no credentials file: give one with a JWT and a user's key, as `nsc generate creds` makes it", c.Credentials)
		}
		return nil
	})
	check("nkey", c.NKey, func(contents []byte) error {
		if _, err := nkeys.ParseDecoratedUserNKey(contents); err != nil {
			return fmt.Errorf("%s has no seed of a user's key: give one that begins with SU, as `nsc generate nkey --user` makes it", c.NKey)
		}
		return nil
	})
	check("tls.ca", c.TLS.CA, func(contents []byte) error {
		if !x509.NewCertPool().AppendCertsFromPEM(contents) {
			return fmt.Errorf("%s has no certificate in PEM", c.TLS.CA)
		}
		return nil
	})
	if c.TLS.Certificate != "" {
		if _, err := tls.LoadX509KeyPair(c.TLS.Certificate, c.TLS.Key); err != nil {
			errs = append(errs, fielderr.New("tls.certificate", "%v", err))
		}
	}
	return errors.Join(errs...)
}

// reconnectDelay is the pause after all servers were tried so many times.
func reconnectDelay(rounds int) time.Duration {
	pause := min(100*time.Millisecond<<min(rounds-1, 10), time.Second)
	return pause/2 + rand.N(pause/2) //nolint:gosec // jitter
}

// options are those of a connection that is kept up for ever, and never sends later what
// could not be sent at once: see Append.
func (c Config) options() ([]nats.Option, error) {
	if err := c.checkFiles(); err != nil {
		return nil, err
	}
	options := []nats.Option{
		nats.Name("webhook-gateway"),
		nats.ReconnectBufSize(-1),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // credentials may be put right while it runs
		nats.PingInterval(time.Second),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(connectTimeout),
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

// dialer ends dialling with the context as well, and remembers why it failed: nats.go does not say.
type dialer struct {
	ctx context.Context //nolint:containedctx // nats.go gives none
	err error
}

func (d *dialer) Dial(network, address string) (conn net.Conn, err error) {
	conn, err = (&net.Dialer{Timeout: connectTimeout}).DialContext(d.ctx, network, address)
	d.err = err
	return conn, err
}

// dial connects to the first of the servers that can be used.
func dial(life context.Context, servers []string, options []nats.Option) (*nats.Conn, error) {
	o := nats.GetDefaultOptions()
	d := &dialer{ctx: life}
	o.Servers, o.NoRandomize, o.CustomDialer = servers, true, d
	for _, option := range options {
		if err := option(&o); err != nil {
			return nil, err
		}
	}
	conn, err := o.Connect()
	if errors.Is(err, nats.ErrNoServers) && d.err != nil {
		err = d.err
	}
	return conn, err
}

// connect connects to one of the servers. life is that of the connection. It tries all of them
// first, at once, to be able to say of each why it cannot be used.
func (c Config) connect(ctx, life context.Context, logger *slog.Logger, options []nats.Option) (*nats.Conn, error) {
	var tries sync.WaitGroup
	errs := make([]error, len(c.URLs))
	for i, server := range c.URLs {
		tries.Go(func() {
			conn, err := dial(ctx, []string{server}, append(slices.Clip(options), nats.NoReconnect()))
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", shown(server), c.explain(err))
				return
			}
			conn.Close()
		})
	}
	tries.Wait()
	var usable, others []string
	for i, server := range c.URLs {
		if errs[i] == nil {
			usable = append(usable, server)
		} else {
			others = append(others, server)
		}
	}
	why := errors.Join(errs...)
	if len(usable) == 0 {
		err := fmt.Errorf("connect to NATS: %w", why)
		if slices.ContainsFunc(errs, isFinal) {
			return nil, finalError{err}
		}
		return nil, err
	}
	if why != nil {
		logger.Warn("some of the NATS servers cannot be used", "error", why)
	}
	rand.Shuffle(len(usable), func(i, j int) { usable[i], usable[j] = usable[j], usable[i] }) //nolint:gosec // to spread gateways
	conn, err := dial(life, append(usable, others...), options)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", c.explain(err))
	}
	return conn, nil
}

// explain adds to why a server cannot be used what to do about it.
func (c Config) explain(err error) error {
	if err == nil {
		return errors.New("it broke off")
	}
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		remote  *net.OpError
	)
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrNkeysNotSupported):
		return finalError{fmt.Errorf("%w: %s", err, c.unknown())}
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAccountAuthExpired):
		return finalError{fmt.Errorf("%w: give new credentials", err)}
	case errors.Is(err, nats.ErrSecureConnWanted):
		return finalError{fmt.Errorf("%w: the server does not speak TLS: give it a certificate, or use nats:// and leave out tls", err)}
	case errors.As(err, &unknown):
		return finalError{fmt.Errorf("%w: tls.ca must have the root that vouches for the server", err)}
	case errors.As(err, &host):
		return finalError{fmt.Errorf("%w: use a name in the URL that is in the server's certificate", err)}
	case errors.As(err, &invalid):
		return finalError{fmt.Errorf("%w: the server needs a certificate that is valid now", err)}
	case errors.As(err, &remote) && remote.Op == "remote error": // an alert of TLS
		return finalError{fmt.Errorf("%w: the server refuses the connection: tls.certificate and tls.key must be of a client that it knows", err)}
	}
	return err
}

// unknown says what to do if a server does not let the gateway in.
func (c Config) unknown() string {
	var who string
	switch {
	case c.Credentials != "":
		who = "the user of " + c.Credentials
	case c.NKey != "":
		who = "the key of " + c.NKey
	case slices.ContainsFunc(c.URLs, func(server string) bool { u, err := url.Parse(server); return err == nil && u.User != nil }):
		who = "the user and password"
	case c.TLS.Certificate != "":
		who = "the certificate " + c.TLS.Certificate
	default:
		return "it asks for credentials: give credentials, nkey, or a user and a password"
	}
	return "it does not know " + who + ": check it, and the users of the server"
}

// shown is a URL without user and password.
func shown(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return "a server"
	}
	return u.Scheme + "://" + u.Host
}
