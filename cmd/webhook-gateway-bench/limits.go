package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Ingest is compared with two limits, each a program that does part of what the
// gateway does, and no more: bare net/http reads the body and stores nothing;
// durable net/http also writes it to Pebble, and waits for the fsync.

// memTableBytes is that of the gateway's own log.
const memTableBytes = 64 << 20

// startLimit starts this very program as one of the limits: as the durable one if a
// folder for its store is given.
func startLimit(ctx context.Context, store string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{webhooks: freeAddress()}
	cmd := exec.CommandContext(ctx, self, "-limit", p.webhooks, "-limit-store", store) //nolint:gosec // this very program
	return p, p.start(ctx, cmd, "http://"+p.webhooks+"/")
}

// serveLimit serves one of the limits until the process is ended.
func serveLimit(addr, store string) error {
	write := func([]byte) error { return nil }
	if store != "" {
		db, err := pebble.Open(store, &pebble.Options{MemTableSize: memTableBytes, Logger: quiet{}})
		if err != nil {
			return fmt.Errorf("open the store of the durable limit: %w", err)
		}
		var last atomic.Uint64
		write = func(body []byte) error {
			return db.Set(binary.BigEndian.AppendUint64(nil, last.Add(1)), body, pebble.Sync)
		}
	}
	server := &http.Server{
		Addr:              addr,
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			if err := write(body); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, "{}") // a client that has gone
		}),
	}
	return server.ListenAndServe()
}

// quiet drops what Pebble logs.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...)) // as Pebble asks
}
