package main

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server"
)

// lookInterval is how often a gateway looks at its files. What has changed is loaded when
// it is the same twice: who writes them may not have ended, and half of a configuration
// can be one without its last clients.
const lookInterval = 2 * time.Second

// configFiles is a configuration that is read from files.
type configFiles struct {
	path    string
	environ []string
	// seen is the sum of what the files held when they were looked at last, and loaded
	// when they were looked at before they were loaded. So what changes in between is
	// seen later.
	seen, loaded [sha256.Size]byte
}

// newConfigFiles looks at the files. The configuration is to be loaded after that.
func newConfigFiles(path string, environ []string) *configFiles {
	f := &configFiles{path: path, environ: environ}
	f.look()
	return f
}

// follow has the gateway load its configuration again when somebody asks for it, and
// when a file has changed, until the context is done. level is set by log.level.
func (f *configFiles) follow(ctx context.Context, gateway *server.Server, asked <-chan os.Signal, level *slog.LevelVar) {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
			f.look()
		case <-ticker.C:
			if !f.changed() {
				continue
			}
		}
		var config server.Config
		err := gateway.Reload(func() (_ server.Config, err error) {
			config, err = server.Load(f.path, f.environ)
			return config, err
		})
		if err == nil { // otherwise it is logged, and told by /readyz
			level.Set(config.Log.Level)
		}
	}
}

// look takes the files as they are now for what is loaded next.
func (f *configFiles) look() {
	f.seen = f.sum()
	f.loaded = f.seen
}

// changed looks at the files, and reports whether they are to be loaded: they are others
// than those that were, and the same as at the last look.
func (f *configFiles) changed() bool {
	last := f.seen
	f.seen = f.sum()
	if f.seen != last || f.seen == f.loaded {
		return false
	}
	f.loaded = f.seen
	return true
}

// sum returns a sum over the configuration file and all files that it names now. One
// that cannot be read is like an empty one: what is wrong with it is for the load to say.
// It is looked at all the same: perhaps it comes later than the file that names it.
func (f *configFiles) sum() [sha256.Size]byte {
	config := server.DefaultConfig()
	_ = config.Override(f.path, f.environ) // as far as it can be understood
	hash := sha256.New()
	for _, path := range append([]string{f.path}, slices.Sorted(slices.Values(config.Files()))...) {
		text, _ := os.ReadFile(path) //nolint:gosec // the operator names the files
		one := sha256.Sum256(text)
		hash.Write(one[:])
	}
	return [sha256.Size]byte(hash.Sum(nil))
}
