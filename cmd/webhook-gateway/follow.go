package main

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server"
)

// lookInterval is how often a gateway looks whether its files have changed.
const lookInterval = 5 * time.Second

// configFiles is a configuration that is read from files.
type configFiles struct {
	path    string
	environ []string
	level   *slog.LevelVar
	// seen is the sum of what the files held when they were looked at last.
	seen  [sha256.Size]byte
	named []string // by the configuration that was loaded last
	// hangup gets SIGHUP, from the beginning: it would end the process otherwise.
	hangup chan os.Signal
}

func newConfigFiles(path string, environ []string, config server.Config, level *slog.LevelVar) *configFiles {
	f := &configFiles{path: path, environ: environ, named: config.Files(), level: level, hangup: make(chan os.Signal, 1)}
	f.seen = f.sum()
	signal.Notify(f.hangup, syscall.SIGHUP)
	return f
}

// follow has the gateway load its configuration again when it gets SIGHUP, and when a
// file has changed, until the context is done.
func (f *configFiles) follow(ctx context.Context, gateway *server.Server) {
	defer signal.Stop(f.hangup)
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.hangup:
			f.seen = f.sum()
		case <-ticker.C:
			sum := f.sum()
			if sum == f.seen {
				continue
			}
			f.seen = sum
		}
		_ = gateway.Reload(f.load) // it is logged, and told by /readyz
	}
}

// load loads the configuration, and watches the files that it names from then on.
func (f *configFiles) load() (server.Config, error) {
	config, err := server.Load(f.path, f.environ)
	if err != nil {
		return config, err
	}
	f.named = config.Files()
	f.seen = f.sum()
	f.level.Set(config.Log.Level)
	return config, nil
}

// sum returns a sum over all files. One that cannot be read is like an empty one: what
// is wrong with it is for the load to say.
func (f *configFiles) sum() [sha256.Size]byte {
	hash := sha256.New()
	for _, path := range append([]string{f.path}, f.named...) {
		text, _ := os.ReadFile(path) //nolint:gosec // the operator names the files
		one := sha256.Sum256(text)
		hash.Write(one[:])
	}
	return [sha256.Size]byte(hash.Sum(nil))
}
