package server

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v4"

	"github.com/webhook-gateway/webhook-gateway/server/canary"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

// reloadable are the keys, and the sections, that a reload puts in force. The others
// need a restart.
var reloadable = []string{
	"tls", "cluster.tls", "cluster.secret", "cluster.previous_secret", "log.level", "providers", "streams", "access", "canary", "sessions", "console",
	"webhooks.max_body_bytes", "webhooks.max_buffered_bytes", "webhooks.append_timeout", "webhooks.trusted_proxies",
	"webhooks.stored_headers", "webhooks.log_accepted", "webhooks.rate_limit",
}

// Change is a key that has another value in another configuration.
type Change struct {
	Key string
	// Restart tells that only a restart puts the new value in force.
	Restart bool
}

// Changes returns the keys in which one configuration differs from another, in the
// order of the keys. Secrets are compared by their values.
func Changes(from, to Config) []Change {
	var changes []Change
	old := keys(reflect.ValueOf(&from).Elem())
	for i, k := range keys(reflect.ValueOf(&to).Elem()) {
		if !reflect.DeepEqual(old[i].value.Interface(), k.value.Interface()) {
			changes = append(changes, Change{Key: k.path, Restart: !canReload(k.path) || from.switches(to, k.path) || opens(from, to, k.path)})
		}
	}
	return changes
}

func canReload(path string) bool {
	return slices.ContainsFunc(reloadable, func(section string) bool { return isWithin(path, section) })
}

// switches reports whether what a key belongs to is switched on or off: TLS of a listener, or
// the sharing of the log.
func (c Config) switches(to Config, path string) bool {
	return isWithin(path, "tls."+listenerWebhooks) && c.TLS.Webhooks.Enabled() != to.TLS.Webhooks.Enabled() ||
		isWithin(path, "tls."+listenerGRPC) && c.TLS.GRPC.Enabled() != to.TLS.GRPC.Enabled() ||
		isWithin(path, "tls."+listenerInternalHTTP) && c.TLS.InternalHTTP.Enabled() != to.TLS.InternalHTTP.Enabled() ||
		isWithin(path, "cluster.tls") && c.Cluster.TLS.Enabled() != to.Cluster.TLS.Enabled() ||
		isWithin(path, "cluster") && c.Store.CommitLog.Enabled() != to.Store.CommitLog.Enabled()
}

// opens reports whether a key belongs to access control that is switched off: then a
// restart is asked for. A file that somebody is writing must not open the gates.
func opens(from, to Config, path string) bool {
	return isWithin(path, "access") && from.Access.Enabled() && !to.Access.Enabled()
}

// with returns the configuration with those values of another that a reload puts in
// force.
func (c Config) with(other Config, changes []Change) Config {
	values := valuesByKey(&other)
	for _, k := range keys(reflect.ValueOf(&c).Elem()) {
		if slices.Contains(changes, Change{Key: k.path}) {
			k.value.Set(values[k.path])
		}
	}
	return c
}

// inForce is the configuration that a gateway goes by.
type inForce struct {
	config Config
	since  time.Time
	// fingerprint tells two configurations apart, but for the values of secrets.
	fingerprint string
	// unsafe is what the configuration leaves open: a warning each.
	unsafe []string
	// waiting are the keys of the newest configuration that need a restart.
	waiting []string
	// refused is why the newest configuration is not in force. Nil: it is.
	refused error
}

func newInForce(config Config) (*inForce, error) {
	text, err := yaml.Dump(config)
	if err != nil {
		return nil, fmt.Errorf("print the configuration: %w", err)
	}
	sum := sha256.Sum256(text)
	return &inForce{
		config: config, since: time.Now(), fingerprint: hex.EncodeToString(sum[:6]),
		unsafe: slices.Concat(exposureWarnings(config), modeWarnings(config.Providers.Modes()), config.Store.CommitLog.Warnings()),
	}, nil
}

// warnings returns what somebody should do something about.
func (f *inForce) warnings() []string {
	warnings := slices.Clone(f.unsafe)
	if len(f.waiting) > 0 {
		warnings = append(warnings, "restart the gateway to put in force what has changed in "+strings.Join(f.waiting, ", "))
	}
	if f.refused != nil {
		warnings = append(warnings, fmt.Sprintf("the newest configuration was refused, and that of %s stays in force: %s",
			f.since.UTC().Format(time.RFC3339), strings.ReplaceAll(f.refused.Error(), "\n", "; ")))
	}
	return warnings
}

// Reload loads the configuration again and puts it in force as far as that is possible
// without a restart. No stream and no delivery notices. If anything is wrong with the
// new one, all of the old stays in force; that is logged, told by /readyz, and returned.
func (s *Server) Reload(load func() (Config, error)) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	config, err := load()
	if err == nil {
		err = s.apply(config)
	}
	if err != nil {
		old := *s.inForce.Load()
		old.refused = err
		s.inForce.Store(&old)
		s.reloads.WithLabelValues(reloadRefused).Inc()
		s.logger.Error("the new configuration was refused, and the old one stays in force", "error", err)
		return err
	}
	s.reloads.WithLabelValues(reloadApplied).Inc()
	return nil
}

// apply makes everything first, and then puts it in force.
func (s *Server) apply(config Config) error {
	if err := config.Validate(); err != nil { // also what waits for a restart
		return err
	}
	changes := Changes(s.inForce.Load().config, config)
	next, err := newInForce(s.inForce.Load().config.with(config, changes))
	if err != nil {
		return err
	}
	var applied []string
	for _, change := range changes {
		if change.Restart {
			next.waiting = append(next.waiting, change.Key)
		} else {
			applied = append(applied, change.Key)
		}
	}
	loaded, err := next.config.loadTLS()
	if err != nil {
		return err
	}
	providers, err := s.newProviders(next.config)
	if err != nil {
		return fmt.Errorf("make the providers: %w", err)
	}
	if err := next.config.Validate(); err != nil { // without what waits for a restart
		return err
	}
	replaceAccess, err := s.access.Prepare(next.config.Access)
	if err != nil {
		return err
	}
	s.canary.Replace(canary.Config{}) // it must not find a half of the change
	defer func() { s.canary.Replace(s.inForce.Load().config.Canary) }()
	if err := s.webhooks.Replace(next.config.Webhooks, providers); err != nil {
		return err
	}
	s.certificates.replace(loaded)
	replaceAccess() // it looks at the roots of client certificates
	s.streams.Replace(next.config.Streams)
	s.sessions.Replace(next.config.Sessions)
	s.inForce.Store(next)
	s.logger.Info("the configuration was loaded again", "changed", applied, "restart_needed_for", next.waiting, "fingerprint", next.fingerprint)
	s.warnUnsafe(next.unsafe)
	return nil
}

func (s *Server) warnUnsafe(warnings []string) {
	for _, warning := range warnings {
		s.logger.Warn("the configuration is not safe", "warning", warning)
	}
}

// modes returns the verification modes in force.
func (s *Server) modes() []provider.ModeOf { return s.inForce.Load().config.Providers.Modes() }

var (
	configInfo = prometheus.NewDesc("webhook_gateway_config_info",
		"1, with the fingerprint of the configuration in force, which tells nothing of the values of secrets.", []string{"fingerprint"}, nil)
	configRefused = prometheus.NewDesc("webhook_gateway_config_refused",
		"1 while the newest configuration is not in force because something is wrong with it, otherwise 0.", nil, nil)
	configTime = prometheus.NewDesc("webhook_gateway_config_in_force_timestamp_seconds",
		"Since when the configuration in force is, with the secrets and certificates that were read then.", nil, nil)
)

func newReloads() *prometheus.CounterVec {
	reloads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "webhook_gateway_config_reloads_total",
		Help: "How often the configuration was loaded again, by result: applied, or refused because something is wrong with it.",
	}, []string{"result"})
	for _, result := range []string{reloadApplied, reloadRefused} {
		reloads.WithLabelValues(result)
	}
	return reloads
}

// Results of a reload, as metrics call them.
const (
	reloadApplied = "applied"
	reloadRefused = "refused"
)

// configMetrics tells which configuration is in force.
type configMetrics struct{ server *Server }

// Describe implements prometheus.Collector.
func (c configMetrics) Describe(descs chan<- *prometheus.Desc) {
	descs <- configInfo
	descs <- configTime
	descs <- configRefused
}

// Collect implements prometheus.Collector.
func (c configMetrics) Collect(metrics chan<- prometheus.Metric) {
	f := c.server.inForce.Load()
	metrics <- prometheus.MustNewConstMetric(configInfo, prometheus.GaugeValue, 1, f.fingerprint)
	metrics <- prometheus.MustNewConstMetric(configTime, prometheus.GaugeValue, float64(f.since.UnixMilli())/1000)
	refused := 0.0
	if f.refused != nil {
		refused = 1
	}
	metrics <- prometheus.MustNewConstMetric(configRefused, prometheus.GaugeValue, refused)
}
