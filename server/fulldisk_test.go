//go:build linux

package server_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// smallDisk returns a folder on a real file system of a size.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	path := t.TempDir()
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small file system needs the right to mount one: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(path, 0); err != nil {
			t.Errorf("unmount %s: %v", path, err)
		}
	})
	return path
}

// fillDisk takes all that is left of a disk, and returns what gives it back.
func fillDisk(t *testing.T, path string) (free func()) {
	t.Helper()
	name := filepath.Join(path, "somebody-else")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 64<<10)
	for err == nil {
		_, err = file.Write(chunk)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

// A gateway starts on a full disk, also on one where nothing was ever stored. It
// answers pings, refuses deliveries, shows what it has, and goes on when there is
// room.
func TestStartOnAFullDisk(t *testing.T) {
	for _, stored := range []int{0, 3} {
		t.Run(fmt.Sprint(stored, " events stored"), func(t *testing.T) {
			disk := smallDisk(t, "64m")
			path := filepath.Join(disk, "log")
			if stored > 0 {
				g := servertest.Start(t, func(config *server.Config) { config.Store.Pebble.Path = path })
				for range stored {
					g.Deliver(t, syncAccount)
				}
				if err := g.Stop(); err != nil {
					t.Fatal(err)
				}
			}
			free := fillDisk(t, disk)
			g := servertest.Start(t, func(config *server.Config) { config.Store.Pebble.Path = path })
			g.Deliver(t, webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_PING)
			if code, body := g.Send(t, vezgo, vezgoBody); code != http.StatusServiceUnavailable {
				t.Errorf("a delivery on a full disk was answered %d %s", code, body)
			}
			if code, body := get(t, g, "/readyz"); code != http.StatusOK || !strings.Contains(body, "no space left on device") {
				t.Errorf("/readyz: %d %s", code, body)
			}
			if code, _ := get(t, g, "/readyz?require=log"); code != http.StatusServiceUnavailable {
				t.Errorf("/readyz?require=log: %d", code)
			}
			if code, body := get(t, g, "/metrics"); code != http.StatusOK || !strings.Contains(body, fmt.Sprintf("webhook_gateway_log_events %d\n", stored)) {
				t.Errorf("/metrics: %d without the events that are stored", code)
			}
			free()
			eventually(t, "a delivery is taken", func() bool {
				code, _ := g.Send(t, vezgo, vezgoBody)
				return code == http.StatusOK
			})
			if code, body := get(t, g, "/readyz"); code != http.StatusOK || !strings.Contains(body, `"status":"ok"`) {
				t.Errorf("/readyz: %d %s", code, body)
			}
			if code, body := get(t, g, "/v1/subscriptions"); code != http.StatusOK {
				t.Errorf("/v1/subscriptions: %d %s", code, body)
			}
			if events := g.Server().Log().Bounds().Len(); events < uint64(stored)+1 {
				t.Errorf("%d events are there", events)
			}
		})
	}
}

// A gateway whose events fill its disk refuses deliveries, until retention has made
// room: again and again, unattended, and the disk never fails.
func TestRetentionFreesAFullDisk(t *testing.T) {
	disk := smallDisk(t, "48m") // on one of less than 32 the reserve does not take the smallest memory tables
	g := servertest.Start(t, func(config *server.Config) {
		config.Store.Pebble.Path = filepath.Join(disk, "log")
		config.Store.Retention.MaxBytes = 4 << 20
		config.Store.Retention.Interval = 10 * time.Second // in which a slow machine, too, fills the disk
	})
	noise := make([]byte, 512<<10) // it does not compress
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	// NOTE Not by deliveries: with the race detector, a busy machine reads no more of them than
	// retention removes.
	store := func() error {
		_, err := g.Server().Log().Append(t.Context(), eventOf(t, noise))
		return err
	}
	for range 2 {
		send := func() bool {
			code, body := g.Send(t, vezgo, vezgoBody)
			if code != http.StatusOK && code != http.StatusServiceUnavailable {
				t.Fatalf("a delivery was answered %d %s", code, body)
			}
			return code == http.StatusOK
		}
		eventually(t, "a delivery is refused", func() bool { return store() != nil && !send() })
		eventually(t, "a delivery is taken", send)
	}
	if _, body := get(t, g, "/metrics"); !strings.Contains(body, "webhook_gateway_store_failures_total 0\n") {
		t.Error("the disk failed")
	}
}

// The canary tells that deliveries are not stored, and that they are again.
func TestCanaryOnAFullDisk(t *testing.T) {
	disk := smallDisk(t, "64m")
	g := servertest.Start(t, withCanary, func(config *server.Config) {
		config.Store.Pebble.Path, config.Log.Level = filepath.Join(disk, "log"), 12
	})
	eventually(t, "a round trip", func() bool { return metric(t, g, canarySucceeded) > 0 })
	free := fillDisk(t, disk)
	eventually(t, "a failure", func() bool { return metric(t, g, canaryFailures("answer")) > 0 })
	free()
	before := metric(t, g, canarySucceeded)
	eventually(t, "another round trip", func() bool { return metric(t, g, canarySucceeded) > before })
}
