package server

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/webhook-gateway/webhook-gateway/server/rest"
)

// buildInternal makes the internal HTTP server: the REST mirror with its OpenAPI
// document, metrics and health.
func (s *Server) buildInternal(ctx context.Context, registry *prometheus.Registry) error {
	conn, err := s.dialLoopback()
	if err != nil {
		return err
	}
	mirror, err := rest.New(ctx, conn)
	if err != nil {
		return fmt.Errorf("make the REST mirror: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", mirror)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn),
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeHealth(w, nil, nil) })
	mux.HandleFunc("GET /readyz", s.readyz)
	if s.config.Debug.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	s.internalServer = &http.Server{
		Handler: mux,
		// NOTE: no write timeout and no read timeout, which would cut streams.
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn),
	}
	return nil
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
	writeHealth(w, reasons, problems)
}

// notReady returns why the gateway should get no new work, or nothing.
func (s *Server) notReady() []string {
	if s.draining.Load() {
		return []string{"the gateway is shutting down"}
	}
	return nil
}

// problems returns what does not work although the gateway serves.
func (s *Server) problems() []string {
	if err := s.log.Err(); err != nil {
		return []string{"the event log does not accept events: " + err.Error()}
	}
	return nil
}

func writeHealth(w http.ResponseWriter, reasons, problems []string) {
	answer := struct {
		Status   string   `json:"status"`
		Reasons  []string `json:"reasons,omitempty"`
		Problems []string `json:"problems,omitempty"`
	}{Status: "ok", Reasons: reasons, Problems: problems}
	code := http.StatusOK
	switch {
	case len(reasons) > 0:
		answer.Status, code = "not ready", http.StatusServiceUnavailable
	case len(problems) > 0:
		answer.Status = "degraded"
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer) // the prober is gone
}
