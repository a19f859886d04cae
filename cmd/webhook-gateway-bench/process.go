package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

const finicitySecret = "bench-secret"

// process is a gateway, or a limit of ingest, under measurement.
type process struct {
	cmd    *exec.Cmd
	output *bytes.Buffer
	// Addresses of the three listeners; a limit has only the first.
	webhooks, grpc, internal string
	ended                    chan struct{}
	// tls is how clients speak to it, or nil for plain text.
	tls *tls.Config
	// token is the bearer token that clients show, if not empty.
	token string
	// ready is how long the process took from its start until it was ready.
	ready time.Duration
}

func buildGateway(ctx context.Context, s *settings) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(s.dir, "webhook-gateway"), "./cmd/webhook-gateway") //nolint:gosec // fixed
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the gateway: %w\n%s", err, out)
	}
	return nil
}

// startGateway starts the gateway on free ports with a store in a folder of the
// given name, enforcing both providers' verification.
func startGateway(ctx context.Context, s *settings, store string) (*process, error) {
	return startProtected(ctx, s, store, protection{})
}

// startProtected starts it with a protection.
func startProtected(ctx context.Context, s *settings, store string, with protection) (*process, error) {
	p := &process{webhooks: freeAddress(), grpc: freeAddress(), internal: freeAddress(), tls: with.tls, token: with.token}
	config := filepath.Join(s.dir, store+".yaml")
	text := fmt.Sprintf(`
listen: {webhooks: %q, grpc: %q, internal_http: %q}
log: {level: warn}
shutdown: {delay: 0s}
store: {pebble: {path: %q}%s}
providers:
  finicity:
    enabled: true
    clients:
      bench: {secrets: {bench: "env:BENCH_FINICITY_SECRET"}}
  vezgo:
    enabled: true
    any_client: true
    source_addresses: ["127.0.0.1"]
%s`, p.webhooks, p.grpc, p.internal, filepath.Join(s.dir, store), with.store, with.config)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.dir, "webhook-gateway"), "serve", "--config", config) //nolint:gosec // our own binary
	cmd.Env = append(os.Environ(), "BENCH_FINICITY_SECRET="+finicitySecret, "BENCH_CLUSTER_SECRET="+finicitySecret)
	return p, p.start(ctx, cmd, "http://"+p.internal+"/readyz")
}

func (p *process) start(ctx context.Context, cmd *exec.Cmd, readyURL string) error {
	p.cmd, p.output = cmd, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = p.output, p.output
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	p.ended = make(chan struct{})
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // how it ends does not matter: that it ends does
	}()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for time.Since(started) < time.Minute {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ended:
			return fmt.Errorf("%s ended:\n%s", cmd.Path, p.output)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, readyURL, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close() // nothing was read from it
			if resp.StatusCode == http.StatusOK {
				p.ready = time.Since(started)
				return nil
			}
		}
	}
	p.stop()
	return fmt.Errorf("%s was not ready within a minute:\n%s", cmd.Path, p.output)
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	<-p.ended
}

// cpu returns the processor time that the process took. It must have been stopped.
func (p *process) cpu() time.Duration {
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// residentBytes returns the resident set size of the process.
func (p *process) residentBytes() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib * 1024, err
		}
	}
	return 0, errors.New("no VmRSS in the process status")
}

// cpuSoFar returns the processor time that the process has taken.
func (p *process) cpuSoFar() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // what the kernel calls it may have spaces
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("not understood: %s", text)
	}
	user, err := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return time.Duration(user+system) * (time.Second / 100), errors.Join(err, err2)
}

func (p *process) dial(options ...grpc.DialOption) (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if p.tls != nil {
		transport = credentials.NewTLS(p.tls)
	}
	if p.token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(p.token)))
	}
	return grpc.NewClient(p.grpc, append(options,
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))...)
}

func freeAddress() string {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		panic(err) // no loopback, no measurement
	}
	defer l.Close()
	return l.Addr().String()
}

// fsyncTime returns the median time of an fsync of 4 KiB appended to a file.
func fsyncTime(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, "fsync-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 4096)
	times := make([]time.Duration, 200)
	for i := range times {
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		start := time.Now()
		if err := f.Sync(); err != nil {
			return 0, err
		}
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return times[len(times)/2].Round(time.Microsecond), nil
}

func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	for line := range strings.Lines(string(info)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t: "))
		}
	}
	return "unknown CPU"
}
