package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/jetstream/jetstreamtest"
)

// at returns a URL with credentials.
func at(url, user string) string { return strings.Replace(url, "://", "://"+user+"@", 1) }

// write writes a file of a test.
func write(t *testing.T, name string, contents []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, contents, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// openSoon opens a log that must answer within seconds, long before its context ends. Neither the error
// nor what is logged may have a secret.
func openSoon(t *testing.T, config Config) error {
	t.Helper()
	var logs syncBuffer
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	log, err := Open(ctx, config, slog.New(slog.NewTextHandler(&logs, nil)))
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("Open() takes %v", took)
	}
	if err == nil {
		if err := log.Err(); err != nil {
			t.Errorf("Err() = %v", err)
		}
		_ = log.Close()
	}
	if strings.Contains(logs.String(), "s3cr") || err != nil && strings.Contains(err.Error(), "s3cr") {
		t.Errorf("a secret is shown: %v\n%s", err, logs.String())
	}
	return err
}

// wantRefused fails the test unless Open fails soon and says all of it.
func wantRefused(t *testing.T, config Config, says ...string) {
	t.Helper()
	err := openSoon(t, config)
	for _, text := range says {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("Open() = %v; it should say %q", err, text)
		}
	}
}

func wantOpen(t *testing.T, config Config) {
	t.Helper()
	if err := openSoon(t, config); err != nil {
		t.Errorf("Open() = %v", err)
	}
}

func TestConfig(t *testing.T) {
	valid := DefaultConfig()
	valid.URLs = []string{"nats://user:s3cret@nats-1:4222", "tls://nats-2"}
	if err := valid.Validate(); err != nil {
		t.Errorf("Validate() = %v", err)
	}
	for says, change := range map[string]func(*Config){
		"urls: give the URLs":         func(c *Config) { c.URLs = nil },
		"urls[0]: is no URL":          func(c *Config) { c.URLs = []string{"nats://user:s3cr%et@nats-1"} },
		"urls[1]: is no URL":          func(c *Config) { c.URLs = []string{"nats://nats-1", "http://user:s3cret@nats-2"} },
		"urls[0]: is no URL of":       func(c *Config) { c.URLs = []string{"nats-1:4222"} },
		"stream: \"a.b\" is no name":  func(c *Config) { c.Stream = "a.b" },
		"replicas: must be 1, 3 or 5": func(c *Config) { c.Replicas = 2 },
		"nkey: credentials has a key": func(c *Config) { c.Credentials, c.NKey = "a", "b" },
		"tls: give both":              func(c *Config) { c.TLS.Key = "a" },
	} {
		config := valid
		change(&config)
		wantRefused(t, config, says)
	}
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	config := DefaultConfig()
	config.URLs = []string{"nats://127.0.0.1:1"}
	wrong := write(t, "wrong", []byte("s3cret"))
	for says, change := range map[string]func(*Config){
		"credentials: open /nowhere":                      func(c *Config) { c.Credentials = "/nowhere" },
		"credentials: " + wrong + " is no credentials":    func(c *Config) { c.Credentials = wrong },
		"nkey: open /nowhere":                             func(c *Config) { c.NKey = "/nowhere" },
		"nkey: " + wrong + " has no seed":                 func(c *Config) { c.NKey = wrong },
		"tls.ca: open /nowhere":                           func(c *Config) { c.TLS.CA = "/nowhere" },
		"tls.ca: " + wrong + " has no certificate":        func(c *Config) { c.TLS.CA = wrong },
		"tls.certificate: open /nowhere":                  func(c *Config) { c.TLS.Certificate, c.TLS.Key = "/nowhere", wrong },
		"tls.certificate: tls: failed to find any PEM da": func(c *Config) { c.TLS.Certificate, c.TLS.Key = wrong, wrong },
	} {
		config := config
		change(&config)
		wantRefused(t, config, says)
	}
}

func TestServersThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	t.Run("small messages", func(t *testing.T) {
		t.Parallel()
		wantRefused(t, configFor(jetstreamtest.Start(t, 1, "max_payload: 65536")), "max_payload of the NATS server is 65536 bytes: set it to at least 131072")
	})
	t.Run("no JetStream", func(t *testing.T) {
		t.Parallel()
		wantRefused(t, configFor(jetstreamtest.Start(t, 1, "jetstream: false")), "enable JetStream in the configuration of the servers")
	})
	t.Run("no cluster", func(t *testing.T) {
		t.Parallel()
		config := configFor(jetstreamtest.Start(t, 1, ""))
		config.Replicas = 3
		wantRefused(t, config, "3 replicas need a cluster of as many servers")
	})
	t.Run("little disk", func(t *testing.T) {
		t.Parallel()
		config := configFor(jetstreamtest.Start(t, 1, "jetstream: { max_file: 1 }"))
		log := mustOpen(t, config)
		for i := range commitlog.Sequence(100) {
			_, err := log.Append(t.Context(), i, make([]byte, 1000))
			for errors.Is(err, context.DeadlineExceeded) {
				_, err = log.Append(t.Context(), i, make([]byte, 1000))
			}
			if err != nil {
				if !says(err, "insufficient resources") || !says(log.Err(), "insufficient resources") {
					t.Errorf("Append() = %v, Err() = %v", err, log.Err())
				}
				return
			}
		}
		t.Error("it is never full")
	})
	t.Run("old", func(t *testing.T) {
		t.Parallel()
		wantRefused(t, Config{URLs: []string{oldServer(t)}, Stream: "s", Replicas: 1}, "of version 2.14.9, and must be of 2.15.0 or later: upgrade it")
	})
}

// oldServer says that it is a server of an old version, and returns its URL.
func oldServer(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, `INFO {"server_id":"OLD","version":"2.14.9","max_payload":1048576,"headers":true,"proto":1}`+"\r\nPONG\r\n")
			go func() { _, _ = io.Copy(io.Discard, conn) }()
		}
	}()
	return "nats://" + listener.Addr().String()
}

// TestNothingToConnectTo: Open waits as long as its context, and says of each server why it cannot be used.
func TestNothingToConnectTo(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	config := DefaultConfig()
	config.URLs = []string{"nats://127.0.0.1:1", "nats://user:s3cret@" + silent.Addr().String(), "nats://nats.invalid:4222"}
	const waits = 5 * time.Second // two attempts end in it
	ctx, cancel := context.WithTimeout(t.Context(), waits)
	defer cancel()
	var logs syncBuffer
	begin := time.Now()
	_, err = Open(ctx, config, slog.New(slog.NewTextHandler(&logs, nil)))
	if took := time.Since(begin); took < waits-100*time.Millisecond || took > 30*time.Second {
		t.Errorf("Open() takes %v", took)
	}
	for _, says := range []string{"context deadline exceeded", "nats://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused", silent.Addr().String() + ": ", "nats://nats.invalid:4222: "} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Open() = %v; it should say %q", err, says)
		}
	}
	if text := logs.String(); !strings.Contains(text, "it is tried again") || !strings.Contains(text, "sync_always: true") || strings.Contains(text, "s3cret") {
		t.Errorf("it logs %s", text)
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("Open() = %v", err)
	}
}

// TestWhyIsKept: an attempt that is cut off at the end does not hide what was wrong before.
func TestWhyIsKept(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	attempts := 0
	err := persist(ctx, slog.New(slog.DiscardHandler), func(ctx context.Context) error {
		if attempts++; attempts == 1 {
			return errors.New("connection refused")
		}
		cancel()
		return ctx.Err()
	})
	if !says(err, "connection refused") || !errors.Is(err, context.Canceled) {
		t.Errorf("persist() = %v", err)
	}
}

// TestServersThatComeLater: Open goes on as soon as there is a server.
func TestServersThatComeLater(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Start(t, 1, "")
	c.Nodes[0].Kill()
	opened := make(chan error)
	go func() {
		log, err := Open(t.Context(), configFor(c), slog.New(slog.DiscardHandler))
		if err == nil {
			_ = log.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Fatalf("Open() = %v", err)
	case <-time.After(100 * time.Millisecond): // long enough for an attempt
	}
	c.Nodes[0].Start()
	if err := <-opened; err != nil {
		t.Errorf("Open() = %v", err)
	}
}

// TestTooFewServers: a server that is up, and can do nothing without the others, is not said to be
// "temporarily unavailable" and no more.
func TestTooFewServers(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Start(t, 3, "")
	for _, n := range c.Nodes {
		n.Kill()
	}
	c.Nodes[0].Start() // alone
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var logs syncBuffer
	ended := make(chan error)
	go func() {
		log, err := Open(ctx, configFor(c), slog.New(slog.NewTextHandler(&logs, nil)))
		if err == nil {
			_ = log.Close()
		}
		ended <- err
	}()
	eventually(t, "the server refuses", func() bool { return strings.Contains(logs.String(), "temporarily unavailable") })
	if !strings.Contains(logs.String(), "more than half of the servers of the NATS cluster must be up, and reach each other") {
		t.Errorf("it is logged\n%s", logs.String())
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("it is open")
	}
}

// TestStreamsThatCannotHoldCommits changes the stream in each way that is refused.
func TestStreamsThatCannotHoldCommits(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Start(t, 1, "")
	js := c.Connect()
	for says, change := range map[string]func(*natsjs.StreamConfig){
		"its subjects are":                  func(s *natsjs.StreamConfig) { s.Subjects = append(s.Subjects, s.Name+".more") },
		"kept in memory":                    func(s *natsjs.StreamConfig) { s.Storage = natsjs.MemoryStorage },
		"acknowledges before it writes":     func(s *natsjs.StreamConfig) { s.PersistMode, s.AllowAtomicPublish = natsjs.AsyncPersistMode, false },
		"its retention is Interest":         func(s *natsjs.StreamConfig) { s.Retention = natsjs.InterestPolicy },
		"discards old messages":             func(s *natsjs.StreamConfig) { s.Discard = natsjs.DiscardOld },
		"removes messages after 1h":         func(s *natsjs.StreamConfig) { s.MaxAge = time.Hour },
		"keeps 10 messages: ":               func(s *natsjs.StreamConfig) { s.MaxMsgs = 10 },
		"keeps 10 messages of a subject":    func(s *natsjs.StreamConfig) { s.MaxMsgsPerSubject = 10 },
		"messages of 1000 bytes at most":    func(s *natsjs.StreamConfig) { s.MaxMsgSize = 1000 },
		"it has 7 consumers at most":        func(s *natsjs.StreamConfig) { s.MaxConsumers = 7 },
		"takes no atomic batches":           func(s *natsjs.StreamConfig) { s.AllowAtomicPublish = false },
		"its first sequence is 7":           func(s *natsjs.StreamConfig) { s.FirstSeq = 7 },
		"a copy of other streams":           func(s *natsjs.StreamConfig) { s.Sources = []*natsjs.StreamSource{{Name: "other"}} },
		"cannot be purged":                  func(s *natsjs.StreamConfig) { s.DenyPurge = true },
		"acknowledges nothing":              func(s *natsjs.StreamConfig) { s.NoAck = true },
		"is for counters":                   func(s *natsjs.StreamConfig) { s.AllowMsgCounter, s.Discard = true, natsjs.DiscardOld },
		"changes subjects, or publishes wh": func(s *natsjs.StreamConfig) { s.RePublish = &natsjs.RePublish{Source: ">", Destination: "copy.>"} },
	} {
		config := configFor(c)
		has := config.stream()
		change(&has)
		if _, err := js.CreateStream(t.Context(), has); err != nil {
			t.Errorf("%s: %v", says, err)
			continue
		}
		wantRefused(t, config, "the stream "+config.Stream+" cannot hold commits", says)
	}
	config := configFor(c)
	sealed := config.stream()
	sealed.DenyDelete = false
	if _, err := js.CreateStream(t.Context(), sealed); err != nil {
		t.Fatal(err)
	}
	sealed.Sealed = true
	if _, err := js.UpdateStream(t.Context(), sealed); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, config, "is sealed")
	config = configFor(c)
	wantOpen(t, config)
	config.Replicas = 3
	wantRefused(t, config, "has 1 replicas, and 3 are configured: `nats stream edit --replicas 3`")
	other := configFor(c)
	if _, err := js.CreateStream(t.Context(), natsjs.StreamConfig{Name: "everything", Subjects: []string{other.Stream + ".>"}}); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, other, "another stream takes "+other.subject())
}

// TestNoErrorHasAPassword: not in what is logged of a connection that breaks off either.
func TestNoErrorHasAPassword(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Start(t, 1, `authorization { users: [ { user: gateway, password: "s3cret" } ] }`)
	config := configFor(c)
	config.URLs = []string{at(c.Nodes[0].URL, "gateway:s3cret")}
	var logs syncBuffer
	log, err := Open(t.Context(), config, slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	c.Nodes[0].Kill()
	eventually(t, "Err() says that there is no connection", func() bool { return log.Err() != nil })
	_, err = log.Append(t.Context(), 0, []byte("a"))
	if text := fmt.Sprint(err, log.Err()); err == nil || strings.Contains(text, "s3cret") {
		t.Errorf("the errors are %v", text)
	}
	c.Nodes[0].Start()
	eventually(t, "Err() is nil", func() bool { return log.Err() == nil })
	eventually(t, "it says that it is connected", func() bool { return strings.Contains(logs.String(), "connected to NATS again") })
	if text := logs.String(); strings.Contains(text, "s3cret") || !json.Valid([]byte(strings.SplitN(text, "\n", 2)[0])) {
		t.Errorf("it logs %s", text)
	}
}
