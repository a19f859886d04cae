package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	authenticSenders = 8
	// authenticPause is the time between two deliveries of a sender.
	authenticPause = 16 * time.Millisecond
	attackers      = 60
)

// An attack is what strangers do to a gateway, in one of many places at a time, until
// it fails. It is called again and again.
type attack struct {
	name string
	run  func(ctx context.Context, webhooks, grpc string) error
}

func attacks() []attack {
	large := bytes.Repeat([]byte("x"), 8<<20)
	elements := []byte(`{"eventType":"added","payload":{"accounts":[` + strings.Repeat("{},", 195_000) + `{}]}}`)
	nested := []byte(strings.Repeat(`{"a":[`, 1_000_000) + strings.Repeat(`]}`, 1_000_000))
	return []attack{
		{"8 MiB to a provider that is not there", post("/v1/webhooks/nobody", "", large)},
		{"585 KiB of {}, wrong signature", post("/v1/webhooks/finicity/bench", strings.Repeat("0", 64), elements)},
		{"8 MiB of nesting, wrong signature", post("/v1/webhooks/finicity/bench", strings.Repeat("0", 64), nested)},
		{"connections without a word", func(ctx context.Context, webhooks, _ string) error {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", webhooks)
			if err != nil {
				return err
			}
			time.AfterFunc(5*time.Second, func() { _ = conn.Close() })
			return nil
		}},
		{"rapid reset of gRPC streams", rapidReset},
	}
}

func post(path, signature string, body []byte) func(context.Context, string, string) error {
	return func(ctx context.Context, webhooks, _ string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+webhooks+path, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		if signature != "" {
			req.Header.Set("X-Finicity-Signature", signature)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return errors.Join(err, resp.Body.Close())
	}
}

func rapidReset(ctx context.Context, _, grpc string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", grpc)
	if err != nil {
		return err
	}
	defer conn.Close()
	var head bytes.Buffer
	encoder := hpack.NewEncoder(&head)
	for _, field := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":authority", "a"},
		{":path", "/webhookgateway.v1.EventService/Subscribe"},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
	} {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1], Sensitive: true}) // into memory
	}
	framer := http2.NewFramer(conn, nil)
	_, err = io.WriteString(conn, http2.ClientPreface)
	err = errors.Join(err, framer.WriteSettings())
	for id := uint32(1); err == nil && id < 2_000_000; id += 2 {
		err = errors.Join(
			framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: head.Bytes(), EndHeaders: true}),
			framer.WriteRSTStream(id, http2.ErrCodeCancel),
		)
	}
	return nil // it was sent away, as it should be
}

// serveAttack attacks until the process is ended.
func serveAttack(ctx context.Context, name, webhooks, grpc string) error {
	for _, a := range attacks() {
		if a.name != name {
			continue
		}
		var group sync.WaitGroup
		for range attackers {
			group.Go(func() {
				for ctx.Err() == nil {
					if a.run(ctx, webhooks, grpc) != nil {
						<-time.After(10 * time.Millisecond) // an attacker that is refused tries again
					}
				}
			})
		}
		group.Wait()
		return nil
	}
	return fmt.Errorf("there is no attack %q", name)
}

// measureAttack compares authentic deliveries under each attack with those without, in
// one run. The attackers have one core.
func measureAttack(ctx context.Context, s *settings) error {
	g, err := startGateway(ctx, s, "attack")
	if err != nil {
		return err
	}
	defer g.stop()
	fmt.Fprintf(s.out, "%d authentic senders of a delivery each %v; %d attackers on one core, each attack for %v.\n\n",
		authenticSenders, authenticPause, attackers, s.duration)
	fmt.Fprintln(s.out, "| attack | authentic deliveries | not 200 | p50 | p99 | p99 to that without | resident memory, most | a minute later |")
	fmt.Fprintln(s.out, "|---|---|---|---|---|---|---|---|")
	calm, err := deliverAuthentic(ctx, s, g)
	if err != nil {
		return err
	}
	calm.print(s.out, "none", calm, 0)
	for _, a := range attacks() {
		stop, err := startAttack(ctx, a.name, g)
		if err != nil {
			return err
		}
		attacked, err := deliverAuthentic(ctx, s, g)
		stop()
		if err != nil {
			return err
		}
		select {
		case <-time.After(time.Minute):
		case <-ctx.Done():
			return ctx.Err()
		}
		later, err := g.residentBytes()
		if err != nil {
			return err
		}
		attacked.print(s.out, a.name, calm, later)
	}
	return nil
}

// startAttack starts this very program as the attackers.
func startAttack(ctx context.Context, name string, g *process) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{self, "-attack", name, "-attack-webhooks", g.webhooks, "-attack-grpc", g.grpc}
	if taskset, err := exec.LookPath("taskset"); err == nil {
		args = append([]string{taskset, "-c", "0"}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // this very program
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = cmd.Process.Kill() // it has nothing to finish
		_ = cmd.Wait()
	}, nil
}

// authentic is what became of authentic deliveries.
type authentic struct {
	times    []time.Duration
	failed   int
	resident int64
}

func (a authentic) percentile(p int) time.Duration {
	if len(a.times) == 0 {
		return 0
	}
	return a.times[min(len(a.times)*p/100, len(a.times)-1)]
}

func (a authentic) print(w io.Writer, name string, calm authentic, later int64) {
	fmt.Fprintf(w, "| %s | %d | %d | %v | %v | **%.1f** | %d MB | %d MB |\n", name, len(a.times)+a.failed, a.failed,
		a.percentile(50).Round(10*time.Microsecond), a.percentile(99).Round(10*time.Microsecond),
		float64(a.percentile(99))/float64(calm.percentile(99)), a.resident>>20, later>>20)
}

// deliverAuthentic delivers for a while, and watches the memory of the gateway.
func deliverAuthentic(ctx context.Context, s *settings, g *process) (authentic, error) {
	ctx, cancel := context.WithTimeout(ctx, s.duration)
	defer cancel()
	var mu sync.Mutex
	var result authentic
	var group sync.WaitGroup
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: authenticSenders}}
	defer client.CloseIdleConnections()
	for range authenticSenders {
		group.Go(func() {
			for ticker := time.NewTicker(authenticPause); ctx.Err() == nil; <-ticker.C {
				began := time.Now()
				ok := deliverOne(context.WithoutCancel(ctx), client, g)
				took := time.Since(began)
				mu.Lock()
				if ok {
					result.times = append(result.times, took)
				} else {
					result.failed++
				}
				mu.Unlock()
			}
		})
	}
	for ctx.Err() == nil {
		resident, err := g.residentBytes()
		if err != nil {
			return authentic{}, err
		}
		result.resident = max(result.resident, resident)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	group.Wait()
	slices.Sort(result.times)
	return result, nil
}

func deliverOne(ctx context.Context, client *http.Client, g *process) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+g.webhooks+"/v1/webhooks/vezgo", strings.NewReader(vezgoBody))
	if err != nil {
		return false
	}
	req.Header.Set("X-Client-Id", "bench")
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close()) == nil && resp.StatusCode == http.StatusOK
}
