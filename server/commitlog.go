package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/jetstream"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/postgresql"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

// What CommitLog.Engine may be.
const (
	// CommitLogNone is for a gateway alone: its own disk is what makes events durable.
	CommitLogNone = "none"
	// CommitLogJetStream keeps the commits in a stream of NATS JetStream.
	CommitLogJetStream = "jetstream"
	// CommitLogPostgreSQL keeps the commits in a table of PostgreSQL.
	CommitLogPostgreSQL = "postgresql"
)

// CommitLog is what several gateways share, so that all of them take and serve the same
// events. The folder of each is then a copy, which can be made again.
type CommitLog struct {
	// Engine is CommitLogNone, CommitLogJetStream or CommitLogPostgreSQL.
	Engine     string            `yaml:"engine"`
	JetStream  JetStream         `yaml:"jetstream"`
	PostgreSQL postgresql.Config `yaml:"postgresql"`
}

// JetStream says where the stream is, and who the gateway is there.
type JetStream struct {
	jetstream.Config `yaml:",inline"`

	// Username and Password are one way to say who the gateway is. A Password without a
	// Username is a token.
	Username string        `yaml:"username"`
	Password secret.Secret `yaml:"password"`
}

func defaultCommitLog() CommitLog {
	return CommitLog{
		Engine:     CommitLogNone,
		JetStream:  JetStream{Config: jetstream.DefaultConfig()},
		PostgreSQL: postgresql.DefaultConfig(),
	}
}

// Enabled reports whether the event log is shared with other gateways.
func (c CommitLog) Enabled() bool { return c.Engine != CommitLogNone }

func (c CommitLog) validate() error {
	switch c.Engine {
	case CommitLogNone:
		return c.checkUnused()
	case CommitLogJetStream:
		return fielderr.In("jetstream", errors.Join(c.JetStream.Validate(), c.JetStream.checkLogin()))
	case CommitLogPostgreSQL:
		return fielderr.In("postgresql", c.PostgreSQL.Validate())
	}
	return fielderr.New("engine", "%q is no engine: choose %s, %s or %s", c.Engine, CommitLogNone, CommitLogJetStream, CommitLogPostgreSQL)
}

// checkUnused refuses what looks like a cluster and would be gateways of their own, each
// with events that the others do not have.
func (c CommitLog) checkUnused() error {
	var errs []error
	for _, e := range []struct {
		engine string
		given  bool
	}{
		{CommitLogJetStream, len(c.JetStream.URLs) > 0}, {CommitLogPostgreSQL, c.PostgreSQL.URL != ""},
	} {
		if e.given {
			errs = append(errs, fielderr.New("engine", "is %s, and %s has a URL: set it to %s to share the events, or remove the URL", c.Engine, e.engine, e.engine))
		}
	}
	return errors.Join(errs...)
}

func (j JetStream) checkLogin() error {
	var errs []error
	for i, text := range j.URLs {
		key := fmt.Sprintf("urls[%d]", i)
		if u, err := url.Parse(text); err == nil && u.User != nil {
			errs = append(errs, fielderr.New(key, "says who the gateway is, which everybody sees who prints the configuration: give username and password"))
		}
	}
	switch {
	case j.Username != "" && j.Password == (secret.Secret{}):
		errs = append(errs, fielderr.New("password", "is missing: give that of username as env:NAME or file:PATH"))
	case j.Password != (secret.Secret{}) && (j.Credentials != "" || j.NKey != ""):
		errs = append(errs, fielderr.New("password", "credentials or nkey say who the gateway is already: give one of them"))
	}
	return errors.Join(errs...)
}

// connection returns the configuration of the engine, with the password.
func (j JetStream) connection() jetstream.Config {
	config := j.Config
	if j.Password.IsZero() {
		return config
	}
	user := url.UserPassword(j.Username, j.Password.Reveal())
	if j.Username == "" {
		user = url.User(j.Password.Reveal()) // a token
	}
	config.URLs = make([]string, len(j.URLs))
	for i, text := range j.URLs {
		scheme, server, _ := strings.Cut(text, "://")
		config.URLs[i] = scheme + "://" + user.String() + "@" + server
	}
	return config
}

// Warnings returns what the configuration leaves open, a line each.
func (c CommitLog) Warnings() []string {
	switch c.Engine {
	case CommitLogJetStream:
		return asLines("store.commit_log.jetstream", c.JetStream.warnings())
	case CommitLogPostgreSQL:
		return asLines("store.commit_log.postgresql", plainText(c.PostgreSQL.URL))
	}
	return nil
}

func asLines(path string, problems []error) []string {
	var lines []string
	for _, p := range problems {
		lines = append(lines, fielderr.In(path, p).Error())
	}
	return lines
}

func (j JetStream) warnings() []error {
	var warnings []error
	if j.Replicas == 1 {
		warnings = append(warnings, fielderr.New("replicas", "is 1: nothing is taken while that server is down, and all that it held is lost with its disk. Use 3 servers or 5, but for development"))
	}
	for i, text := range j.URLs {
		u, err := url.Parse(text)
		if err == nil && u.Scheme != "tls" && j.TLS == (jetstream.TLS{}) && !isThisMachine(u.Hostname()) {
			warnings = append(warnings, fielderr.New(fmt.Sprintf("urls[%d]", i), "speaks plain text: whoever is on the way reads events. Use tls://, or have something encrypt the way there"))
			break // the others too
		}
	}
	return warnings
}

// A connection that does not insist on TLS falls back to plain text.
var insistsOnTLS = regexp.MustCompile(`(?i)sslmode\s*=\s*'?(require|verify-ca|verify-full)`)

// plainText warns of a URL of PostgreSQL. Of the form with keys and values nothing is known
// here.
func plainText(text string) []error {
	_, rest, isURL := strings.Cut(text, "://")
	if !isURL || insistsOnTLS.MatchString(text) {
		return nil
	}
	hosts, _, _ := strings.Cut(rest, "/")
	hosts, _, _ = strings.Cut(hosts, "?")
	for host := range strings.SplitSeq(hosts[strings.LastIndexByte(hosts, '@')+1:], ",") {
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if host = strings.Trim(host, "[]"); host != "" && !isThisMachine(host) {
			return []error{fielderr.New("url", "speaks plain text if the server wants it so: whoever is on the way reads events. Add sslmode=verify-full, or have something encrypt the way there")}
		}
	}
	return nil
}

func isThisMachine(host string) bool {
	ip, _ := listenIP(host)
	return ip.IsLoopback() || isLocalhost(host)
}

// startPatience is how long a start waits for the commit log, before it goes on without.
const startPatience = 5 * time.Second

// shareLog opens the commit log, and returns what the event log is opened with. It is closed
// after the event log.
func (s *Server) shareLog(ctx context.Context) ([]pebblelog.Option, error) {
	c := s.config.Store.CommitLog
	if !c.Enabled() {
		return nil, nil
	}
	commits, err := commitlog.Start(ctx, startPatience, s.logger, func(ctx context.Context) (commitlog.Log, error) {
		return c.open(ctx, s.logger)
	})
	if err != nil {
		return nil, fmt.Errorf("open what the event log is shared by: store.commit_log.%s: %w", c.Engine, err)
	}
	s.closeLater("close what the event log is shared by", commits.Close)
	return []pebblelog.Option{pebblelog.WithCommits(ctx, commits)}, nil
}

func (c CommitLog) open(ctx context.Context, logger *slog.Logger) (commitlog.Log, error) {
	if c.Engine == CommitLogJetStream {
		return jetstream.Open(ctx, c.JetStream.connection(), logger)
	}
	return postgresql.Open(ctx, c.PostgreSQL, logger)
}

// current returns a channel that is closed when the gateway serves what all gateways have
// stored.
func (s *Server) current() <-chan struct{} {
	if current := s.store.Current(); current != nil {
		return current
	}
	alone := make(chan struct{})
	close(alone)
	return alone
}

// catchingUp says how far the copy of the event log is; nothing if it has caught up.
func (s *Server) catchingUp() []string {
	progress, current := s.store.CatchUp()
	if current {
		return nil
	}
	text := fmt.Sprintf("catching up: %s commits, and it is not known yet whether there are more", thousands(progress.Applied))
	if progress.Newest > progress.Applied {
		text = fmt.Sprintf("catching up: %s of %s commits", thousands(progress.Applied), thousands(progress.Newest))
	}
	if err := s.log.Err(); err != nil && !errors.Is(err, pebblelog.ErrCatchingUp) {
		text += ": " + err.Error()
	}
	return []string{text}
}

// thousands returns a number such as 40,000.
func thousands(n commitlog.Sequence) string {
	text := strconv.FormatUint(uint64(n), 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
