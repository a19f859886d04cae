package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.yaml.in/yaml/v4"
	"google.golang.org/grpc"

	"github.com/webhook-gateway/webhook-gateway/server/connlimit"
	"github.com/webhook-gateway/webhook-gateway/server/console"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/rest"
)

// buildInternal makes the internal HTTP server: the REST mirror with its OpenAPI
// document, the console, metrics and health. The mirror calls over a connection within the process.
func (s *Server) buildInternal(ctx context.Context, conn *grpc.ClientConn, registry *prometheus.Registry) error {
	mirror, err := rest.New(ctx, conn)
	if err != nil {
		return fmt.Errorf("make the REST mirror: %w", err)
	}
	pages, err := console.New()
	if err != nil {
		return fmt.Errorf("make the console: %w", err)
	}
	mux := http.NewServeMux()
	guarded := http.NewServeMux()
	guard := func(next http.Handler) http.Handler { return rest.Guard(s.config.Listen.InternalHosts, next) }
	calls := s.access.Handler(known(guarded), rest.Refuse)
	mux.Handle("/", guard(calls))
	// The pages need no credentials: they hold no data, and ask for a token.
	mux.Handle("GET /{$}", guard(s.withConsole(console.Redirect(calls), calls)))
	mux.Handle(console.Path, guard(s.withConsole(pages, calls)))
	operators := func(pattern string, audited bool, handler http.Handler) {
		guarded.Handle(pattern, s.access.Operator(handler, audited, rest.Refuse))
	}
	guarded.Handle("/", mirror)
	operators("GET /metrics", false, promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn),
		EnableOpenMetrics: true, // exemplars need it
	}))
	operators("POST "+BackupPath, true, http.HandlerFunc(s.backup))
	operators("GET "+ConfigPath, true, http.HandlerFunc(s.printConfig))
	// Probes ask under any name, and without credentials. Then they learn no more than the
	// status.
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeHealth(w, healthReport{}, true) })
	mux.HandleFunc("GET /readyz", s.readyz)
	if s.config.Debug.Pprof {
		operators("GET /debug/pprof/", true, http.HandlerFunc(pprof.Index))
		operators("GET /debug/pprof/cmdline", true, http.HandlerFunc(pprof.Cmdline))
		operators("GET /debug/pprof/profile", true, http.HandlerFunc(pprof.Profile))
		operators("GET /debug/pprof/symbol", true, http.HandlerFunc(pprof.Symbol))
		operators("GET /debug/pprof/trace", true, http.HandlerFunc(pprof.Trace))
	}
	s.internalServer = &http.Server{
		Handler: strange(mux),
		// NOTE: no write timeout and no read timeout, which would cut streams: see strange.
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{WriteByteTimeout: connectionStall},
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn),
	}
	connlimit.Serve(s.internalServer)
	return nil
}

// withConsole has requests answered by one handler while the console is served, and by
// another one while it is not.
func (s *Server) withConsole(on, off http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.inForce.Load().config.Console.Enabled {
			on.ServeHTTP(w, r)
		} else {
			off.ServeHTTP(w, r)
		}
	})
}

// connectionStall is how long a connection of HTTP/2 may take nothing. Its client reads it
// for all streams, however slow it is with each. A deadline of one stream would not help:
// the gateway could not send that it was reset.
const connectionStall = 10 * time.Second

// strangerTimeout is how long a request may take, with its body and its answer, of who did
// not show who they are.
const strangerTimeout = 30 * time.Second

// strange has requests keep nothing for long, and their connections make room for others,
// until they are known.
func strange(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connlimit.Reading(r.Context())
		setDeadlines(w, time.Now().Add(strangerTimeout))
		next.ServeHTTP(w, r)
	})
}

// known is for the requests of those who may take their time. It stands behind access.
func known(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connlimit.Know(r.Context())
		setDeadlines(w, time.Time{})
		next.ServeHTTP(w, r)
	})
}

func setDeadlines(w http.ResponseWriter, deadline time.Time) {
	c := http.NewResponseController(w)
	_, _ = c.SetReadDeadline(deadline), c.SetWriteDeadline(deadline) // a connection that ended has none
}

func (s *Server) dialContext(ctx context.Context, _ string) (net.Conn, error) {
	return s.loopback.DialContext(ctx)
}

// readyz answers whether the gateway should get work. A log that fails is shown and no
// reason to say no: a gateway that is taken out of rotation answers no ping. Who has
// another gateway to fail over to asks with require=log.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	reasons, problems := s.notReady(), s.problems()
	switch require := r.URL.Query().Get("require"); require {
	case "":
	case "log":
		reasons, problems = append(reasons, problems...), nil
	default:
		http.Error(w, fmt.Sprintf("require must be log, or absent; not %q", require), http.StatusBadRequest)
		return
	}
	inForce := s.inForce.Load()
	writeHealth(w, healthReport{
		Reasons: reasons, Problems: problems, Damage: damageLines(s.log.Damage()), Warnings: s.warnings(),
		Config: &configReport{Fingerprint: inForce.fingerprint, Since: inForce.since.UTC()},
	}, rest.HostBelongs(r.Host, s.config.Listen.InternalHosts) && s.access.Operates(r))
}

// ConfigPath of the internal HTTP listener answers the configuration in force, as YAML
// with the references of secrets.
const ConfigPath = "/admin/config"

func (s *Server) printConfig(w http.ResponseWriter, _ *http.Request) {
	text, err := yaml.Dump(s.inForce.Load().config)
	if err != nil {
		http.Error(w, "print the configuration: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(text) // who asked is gone
}

// notReady returns why the gateway should get no new work, or nothing.
func (s *Server) notReady() []string {
	if s.draining.Load() {
		return []string{"the gateway is shutting down"}
	}
	return s.catchingUp()
}

// problems returns what does not work although the gateway serves.
func (s *Server) problems() []string {
	if err := s.log.Err(); err != nil && !errors.Is(err, pebblelog.ErrCatchingUp) { // see notReady
		return []string{"the event log does not accept events: " + err.Error()}
	}
	return nil
}

// warnings returns what somebody should look at, although the gateway is ready.
func (s *Server) warnings() []string {
	const tolerated = time.Minute
	warnings := append(s.inForce.Load().warnings(), s.certificates.warnings(time.Now())...)
	if s.peers.cluster != nil {
		warnings = append(append(warnings, s.peerWarnings(time.Now())...), s.peers.cluster.Warnings()...)
	}
	if err := s.refusals.Err(); err != nil {
		warnings = append(warnings, "refused deliveries are kept in memory only, and a restart forgets them: "+err.Error())
	}
	clock := s.log.Clock()
	switch ahead := clock.Ahead.Round(time.Second); {
	case ahead > tolerated:
		warnings = append(warnings, fmt.Sprintf("the clock of this machine is %v ahead of the event log and is not believed: events get the time of the log. Correct the clock, or let it stand if it is right", ahead.Round(time.Minute)))
	case ahead < -tolerated:
		warnings = append(warnings, fmt.Sprintf("the clock of this machine is %v behind the newest event: events get the time of that one until the clock has reached it", -ahead.Round(time.Minute)))
	}
	if behind := clock.Now.Sub(clock.Retention).Round(time.Minute); behind > 24*time.Hour {
		warnings = append(warnings, fmt.Sprintf("retention by age is %v behind: it catches up after the clock jumped forward", behind))
	}
	return warnings
}

// healthReport is what /healthz and /readyz say.
type healthReport struct {
	Status string `json:"status"`
	// Reasons are why the gateway should get no work.
	Reasons []string `json:"reasons,omitempty"`
	// Problems are what does not work although it serves.
	Problems []string `json:"problems,omitempty"`
	// Damage is which events are lost or cannot be read. It does not matter for the status.
	Damage []string `json:"damage,omitempty"`
	// Warnings are what somebody should look at although all works.
	Warnings []string `json:"warnings,omitempty"`
	// Config is the configuration in force.
	Config *configReport `json:"config,omitempty"`
	// Note is set if all but the status is hidden.
	Note string `json:"note,omitempty"`
}

type configReport struct {
	// Fingerprint tells two configurations apart, but for the values of secrets.
	Fingerprint string    `json:"fingerprint"`
	Since       time.Time `json:"since"`
}

// hidden is what stands in place of clients, paths and errors, which are nothing for a web
// page, nor for a stranger.
const hidden = "for details ask by the address of the gateway, or by a name in listen.internal_hosts, " +
	"and with the credentials of an operator where access is configured"

func writeHealth(w http.ResponseWriter, answer healthReport, details bool) {
	answer.Status = "ok"
	code := http.StatusOK
	switch {
	case len(answer.Reasons) > 0:
		answer.Status, code = "not ready", http.StatusServiceUnavailable
	case len(answer.Problems) > 0:
		answer.Status = "degraded"
	}
	if !details {
		answer = healthReport{Status: answer.Status, Note: hidden}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer) // the prober is gone
}
