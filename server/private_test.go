package server_test

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// A gateway says at its start that others can read its events.
func TestStartOnAFolderThatOthersCanRead(t *testing.T) {
	for mode, want := range map[os.FileMode]string{0o755: "everybody on this machine can read it", 0o700: ""} {
		config := servertest.Config(t)
		config.Store.Pebble.Path = t.TempDir()
		if err := os.Chmod(config.Store.Pebble.Path, mode); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		gateway, err := server.New(t.Context(), config, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
		if err != nil {
			t.Fatal(err)
		}
		if err := gateway.Close(); err != nil {
			t.Error(err)
		}
		said := strings.Contains(log.String(), "the folder of the event log is not private")
		if said != (want != "") || !strings.Contains(log.String(), want) {
			t.Errorf("%o: the log has %q", mode, log.String())
		}
	}
}
