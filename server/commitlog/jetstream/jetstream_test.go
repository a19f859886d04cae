package jetstream

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
)

// startServer starts a NATS server in this process.
func startServer(t *testing.T) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true, SyncAlways: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the NATS server is not ready")
	}
	return s
}

func TestCommitLog(t *testing.T) {
	s := startServer(t)
	streams := make(chan int, 100)
	for i := range cap(streams) {
		streams <- i
	}
	commitlogtest.Run(t, func(t *testing.T) commitlogtest.Harness {
		config := DefaultConfig()
		config.URLs, config.Replicas, config.Stream = []string{s.ClientURL()}, 1, fmt.Sprint("commits-", <-streams)
		return commitlogtest.Harness{Open: func(t *testing.T) commitlog.Log {
			log, err := Open(t.Context(), config, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			return log
		}}
	})
}
