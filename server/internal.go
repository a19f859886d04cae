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
	mux.HandleFunc("POST "+BackupPath, s.backup)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeHealth(w, nil, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		writeHealth(w, s.notReady(), damageLines(s.log.Damage()))
	})
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

// notReady returns why the gateway should get no new work, or nothing.
func (s *Server) notReady() []string {
	var reasons []string
	if s.draining.Load() {
		reasons = append(reasons, "the gateway is shutting down")
	}
	if err := s.log.Err(); err != nil {
		reasons = append(reasons, "the event log does not accept events: "+err.Error())
	}
	return reasons
}

// writeHealth answers a probe. Damage is told, and does not matter for the status.
func writeHealth(w http.ResponseWriter, reasons, damage []string) {
	answer := struct {
		Status  string   `json:"status"`
		Reasons []string `json:"reasons,omitempty"`
		Damage  []string `json:"damage,omitempty"`
	}{Status: "ok", Reasons: reasons, Damage: damage}
	code := http.StatusOK
	if len(reasons) > 0 {
		answer.Status, code = "not ready", http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer) // the prober is gone
}
