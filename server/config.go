package server

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/canary"
	"github.com/webhook-gateway/webhook-gateway/server/console"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
	"github.com/webhook-gateway/webhook-gateway/server/sessions"
	"github.com/webhook-gateway/webhook-gateway/server/stream"
	"github.com/webhook-gateway/webhook-gateway/server/telemetry"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

// Config is the configuration of a gateway: one YAML file. Each section belongs
// to the package that it configures.
type Config struct {
	// Listen has the addresses of the three listeners.
	Listen Listen `yaml:"listen"`
	// TLS has the certificates of the listeners.
	TLS TLS `yaml:"tls"`
	// Log is the gateway's own log, on stderr.
	Log Log `yaml:"log"`
	// Webhooks configures the public listener.
	Webhooks webhook.Config `yaml:"webhooks"`
	// Providers configures who may deliver and how that is verified.
	Providers all.Config `yaml:"providers"`
	// Store configures the event log.
	Store Store `yaml:"store"`
	// Cluster says how gateways that share a commit log reach each other.
	Cluster Cluster `yaml:"cluster"`
	// Access says who may call the internal listeners, and what.
	Access access.Config `yaml:"access"`
	// Streams bounds the streams of EventService and SubscriptionService.
	Streams stream.Config `yaml:"streams"`
	// Sessions says which sessions of Finicity customers are known.
	Sessions sessions.Config `yaml:"sessions"`
	// Telemetry configures the traces of deliveries.
	Telemetry telemetry.Config `yaml:"telemetry"`
	// Canary configures the deliveries that the gateway sends itself.
	Canary canary.Config `yaml:"canary"`
	// Console configures the web console.
	Console console.Config `yaml:"console"`
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
	// GRPC serves both services, health and reflection.
	GRPC string `yaml:"grpc"`
	// InternalHTTP serves the services over HTTP, OpenAPI, the console, metrics and health.
	InternalHTTP string `yaml:"internal_http"`
	// InternalHosts are the names by which InternalHTTP may be asked (Host), beside IP
	// addresses, localhost and names without a dot. Others are refused: a web page could
	// have made its name lead to the gateway.
	InternalHosts []string `yaml:"internal_hosts"`
}

// TLS has the certificates of the listeners. One without speaks plain text.
type TLS struct {
	Webhooks     tlsfiles.Config `yaml:"webhooks"`
	GRPC         tlsfiles.Config `yaml:"grpc"`
	InternalHTTP tlsfiles.Config `yaml:"internal_http"`
}

func (t TLS) validate() error {
	return errors.Join(
		fielderr.In("webhooks", t.Webhooks.Validate()),
		fielderr.In("grpc", t.GRPC.Validate()),
		fielderr.In("internal_http", t.InternalHTTP.Validate()),
	)
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
	// Pebble is what only this engine needs to know.
	Pebble Pebble `yaml:"pebble"`
	// CommitLog is what several gateways share.
	CommitLog CommitLog `yaml:"commit_log"`
	// Retention is how long events are kept.
	Retention Retention `yaml:"retention"`
	// UnverifiedQuotaBytes bounds the events that failed verification (mode report),
	// before compression; 0 is without limit. More are answered 429 until retention
	// has removed some. They do not count for Retention.MaxBytes.
	UnverifiedQuotaBytes uint64 `yaml:"unverified_quota_bytes"`
	// DedupWindow is how long the event id of a stored event is remembered at
	// least; at most twice as long. It does not depend on Retention. At least 168h.
	DedupWindow time.Duration `yaml:"dedup_window"`
}

// Pebble configures the engine EnginePebble.
type Pebble struct {
	// Path of the folder of the log. It is created if it does not exist.
	Path string `yaml:"path"`
	// DiskReserve is how many bytes of the disk are kept free: with less, deliveries
	// are answered 503, so that what removes old events still fits. 0 is a twentieth of
	// the disk, at least 64 MiB and at most 1 GiB, but never more than a quarter of it.
	DiskReserve uint64 `yaml:"disk_reserve"`
}

// Retention is how long events are kept. The limit that is reached first holds.
type Retention struct {
	// MaxAge of an event; 0 is without limit.
	MaxAge time.Duration `yaml:"max_age"`
	// MaxBytes of all events but those that failed verification, before compression;
	// 0 is without limit. The newest event is always kept.
	MaxBytes uint64 `yaml:"max_bytes"`
	// Interval between two checks.
	Interval time.Duration `yaml:"interval"`
}

func defaultStore() Store {
	config := pebblelog.DefaultConfig()
	return Store{
		Engine:      EnginePebble,
		Pebble:      Pebble{Path: "data"},
		CommitLog:   defaultCommitLog(),
		Retention:   Retention(config.Retention),
		DedupWindow: config.DedupWindow,

		UnverifiedQuotaBytes: config.UnverifiedQuotaBytes,
	}
}

// Reserve returns how many bytes are kept free of a disk that has a number of them.
func (s Store) Reserve(total uint64) uint64 { return s.pebblelog().Reserve(total) }

// pebblelog returns the configuration of the engine EnginePebble.
func (s Store) pebblelog() pebblelog.Config {
	return pebblelog.Config{
		Path:        s.Pebble.Path,
		Retention:   pebblelog.Retention(s.Retention),
		DedupWindow: s.DedupWindow,

		UnverifiedQuotaBytes: s.UnverifiedQuotaBytes,
		DiskReserve:          s.Pebble.DiskReserve,
	}
}

// Shutdown configures how the gateway ends.
type Shutdown struct {
	// Timeout bounds the whole shutdown. What is not finished then is cut off.
	Timeout time.Duration `yaml:"timeout"`
	// Delay is how long the gateway goes on serving while it reports that it is not
	// ready, so that a load balancer stops sending, and senders that keep connections
	// are told with their next answer that theirs ends. It is a part of Timeout, and at
	// most half of it.
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
	return Config{
		Listen: Listen{Webhooks: ":8080", GRPC: "127.0.0.1:9090", InternalHTTP: "127.0.0.1:8081"},
		// The internal ports are for the operator's own clients, which can speak 1.3.
		TLS: TLS{
			Webhooks:     tlsfiles.Config{MinVersion: "1.2"},
			GRPC:         tlsfiles.Config{MinVersion: "1.3"},
			InternalHTTP: tlsfiles.Config{MinVersion: "1.3"},
		},
		Log:       Log{Level: slog.LevelInfo, Format: "text"},
		Webhooks:  webhook.DefaultConfig(),
		Providers: all.DefaultConfig(),
		Store:     defaultStore(),
		Cluster:   defaultCluster(),
		Access:    access.DefaultConfig(),
		Streams:   stream.DefaultConfig(),
		Sessions:  sessions.DefaultConfig(),
		Telemetry: telemetry.DefaultConfig(),
		Canary:    canary.DefaultConfig(),
		Console:   console.DefaultConfig(),
		Shutdown:  Shutdown{Timeout: 30 * time.Second, Delay: 5 * time.Second},
	}
}

// Validate returns all that is wrong with the configuration, one line for each
// problem, beginning with the whole path of the key.
func (c Config) Validate() error {
	return errors.Join(
		fielderr.In("listen", c.Listen.validate()),
		fielderr.In("tls", c.TLS.validate()),
		fielderr.In("log", c.Log.validate()),
		fielderr.In("webhooks", c.Webhooks.Validate()),
		fielderr.In("webhooks", c.Webhooks.CheckSecretHeaders(c.Providers.SecretHeaders())),
		fielderr.In("providers", c.Providers.Validate()),
		fielderr.In("store", c.Store.validate()),
		fielderr.In("cluster", c.Cluster.validate(c.Store.CommitLog)),
		fielderr.In("access", c.Access.Validate()),
		c.checkExposure(),
		fielderr.In("streams", c.Streams.Validate()),
		fielderr.In("sessions", c.Sessions.Validate()),
		fielderr.In("telemetry", c.Telemetry.Validate()),
		fielderr.In("canary", c.Canary.Validate()),
		fielderr.In("canary", c.checkCanary()),
		fielderr.In("shutdown", c.Shutdown.validate()),
	)
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

func (l Listen) validate() error {
	type listener struct{ key, host, port string }
	var valid []listener
	var errs []error
	for _, a := range []struct{ key, address string }{
		{"webhooks", l.Webhooks}, {"grpc", l.GRPC}, {"internal_http", l.InternalHTTP},
	} {
		host, port, err := net.SplitHostPort(a.address)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			errs = append(errs, fielderr.New(a.key, "%q is no address: give host:port, such as :8080 or 127.0.0.1:8080", a.address))
			continue
		}
		for _, other := range valid {
			if port == other.port && port != "0" && hostsMeet(host, other.host) {
				errs = append(errs, fielderr.New(a.key, "%q is taken by listen.%s: give each listener a port of its own", a.address, other.key))
				break
			}
		}
		valid = append(valid, listener{a.key, host, port})
	}
	for i, name := range l.InternalHosts {
		if !hostName.MatchString(name) {
			errs = append(errs, fielderr.New("internal_hosts["+strconv.Itoa(i)+"]", "%q is no host name: give a name without a port, such as gateway.example.com", name))
		}
	}
	return errors.Join(errs...)
}

// hostsMeet reports whether two listeners on these hosts cannot have the same port.
func hostsMeet(a, b string) bool {
	ipA, everyA := listenIP(a)
	ipB, everyB := listenIP(b)
	return everyA || everyB || strings.EqualFold(a, b) || ipA.IsValid() && ipA == ipB ||
		isLocalhost(a) && ipB.IsLoopback() || isLocalhost(b) && ipA.IsLoopback()
}

// isLocalhost reports whether a name stands for an address of this machine, which
// depends on the machine.
func isLocalhost(host string) bool { return strings.EqualFold(host, "localhost") }

// listenIP returns the address that a host is, if it is one, and reports whether
// it stands for every interface.
func listenIP(host string) (ip netip.Addr, every bool) {
	ip, _ = netip.ParseAddr(host) // a name has none
	ip = ip.Unmap()
	return ip, host == "" || ip.IsValid() && ip.IsUnspecified()
}

func (l Log) validate() error {
	if l.Format != "text" && l.Format != "json" {
		return fielderr.New("format", "%q is no format: choose text or json", l.Format)
	}
	return nil
}

func (s Store) validate() error {
	var errs []error
	if s.Engine != EnginePebble {
		errs = append(errs, fielderr.New("engine", "%q is no engine: choose %s", s.Engine, EnginePebble))
	}
	errs = append(errs, fielderr.In("commit_log", s.CommitLog.validate()))
	for _, problem := range fielderr.All(s.pebblelog().Validate()) {
		if problem.Path == "path" { // the rest is shared by all engines
			errs = append(errs, fielderr.In("pebble", problem))
		} else {
			errs = append(errs, problem)
		}
	}
	return errors.Join(errs...)
}

func (s Shutdown) validate() error {
	var errs []error
	if s.Timeout <= 0 {
		errs = append(errs, fielderr.New("timeout", "must be a positive duration such as 30s, not %v", s.Timeout))
	}
	if s.Delay < 0 {
		errs = append(errs, fielderr.New("delay", "must be a positive duration such as 5s, or 0; not %v", s.Delay))
	}
	return errors.Join(errs...)
}
