package jetstream

import (
	"flag"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/jetstream/jetstreamtest"
)

func TestMain(m *testing.M) {
	jetstreamtest.Main()
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil { // most of them wait for elections
		panic(err)
	}
	m.Run()
}

var streams atomic.Int64

// configFor returns the configuration of a stream of its own on a cluster.
func configFor(c *jetstreamtest.Cluster) Config {
	config := DefaultConfig()
	config.URLs, config.Replicas, config.SyncAlways = c.URLs(), len(c.Nodes), true
	config.Stream = fmt.Sprint("commits-", streams.Add(1))
	return config
}

func mustOpen(t testing.TB, config Config) *Log {
	t.Helper()
	log, err := Open(t.Context(), config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log
}

func runSuite(t *testing.T, c *jetstreamtest.Cluster) {
	commitlogtest.Run(t, func(*testing.T) commitlogtest.Harness {
		config := configFor(c)
		return commitlogtest.Harness{Open: func(t *testing.T) commitlog.Log { return mustOpen(t, config) }}
	})
}

func TestOneServer(t *testing.T) { t.Parallel(); runSuite(t, jetstreamtest.Start(t, 1, "")) }

func TestThreeServers(t *testing.T) { t.Parallel(); runSuite(t, jetstreamtest.Start(t, 3, "")) }
