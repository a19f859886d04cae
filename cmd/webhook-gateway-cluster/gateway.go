package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

const (
	clientID   = "lab"
	secretName = "LAB_SECRET"
	labSecret  = "the partner secret of the lab"
	// appendTimeout is webhooks.append_timeout: when the gateways give up, and answer 503.
	appendTimeout = 3 * time.Second
	// retention is store.retention.max_age: longer than any reader may be behind, and short
	// enough that much is removed in a run.
	retention = time.Minute
)

// A gateway is a real one, in a process of its own.
type gateway struct {
	*process

	lab                      *lab
	folder                   string
	webhooks, grpc, internal string
	conn                     *grpc.ClientConn
	events                   webhookgatewayv1.EventServiceClient
	subscriptions            webhookgatewayv1.SubscriptionServiceClient
}

func newGateway(l *lab, n int) (*gateway, error) {
	addresses, err := ports(4)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprint("g", n+1)
	g := &gateway{lab: l, webhooks: addresses[0], grpc: addresses[1], internal: addresses[2], folder: filepath.Join(l.dir, name, "store")}
	config := filepath.Join(l.dir, name+".yaml")
	text := fmt.Sprintf(`listen: {webhooks: %q, grpc: %q, internal_http: %q}
cluster: {listen: %q, secret: "env:`+secretName+`"}
log: {level: info}
shutdown: {delay: 0s, timeout: 10s}
webhooks: {append_timeout: %v}
store:
  pebble: {path: %q, disk_reserve: %d}
  retention: {max_age: %v, interval: 2s}
  commit_log: %s
providers:
  finicity:
    enabled: true
    clients: {`+clientID+`: {secrets: {lab: "env:`+secretName+`"}}}
  vezgo: {enabled: true, clients: [`+clientID+`], source_addresses: [127.0.0.1]}
`, g.webhooks, g.grpc, g.internal, addresses[3], appendTimeout, g.folder, 16<<20, retention, l.engine.config(n))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	m, err := newMachine(filepath.Join(l.dir, name+".machine"))
	if err != nil {
		return nil, err
	}
	g.process = &process{
		name: name, log: filepath.Join(l.dir, name+".log"), env: []string{secretName + "=" + labSecret}, machine: m,
		args: []string{l.binary, "serve", "--config", config},
	}
	g.conn, err = grpc.NewClient(g.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)), grpc.WithConnectParams(grpc.ConnectParams{
			MinConnectTimeout: 2 * time.Second, Backoff: quickly,
		}))
	if err != nil {
		return nil, err
	}
	g.events = webhookgatewayv1.NewEventServiceClient(g.conn)
	g.subscriptions = webhookgatewayv1.NewSubscriptionServiceClient(g.conn)
	return g, nil
}

// ready waits until /readyz says so.
func (g *gateway) ready(ctx context.Context) error {
	for {
		if g.isReady(ctx) {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("%s is not ready: %w\n%s", g.name, err, g.tail(20))
		}
	}
}

func (g *gateway) isReady(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.internal+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close() // nothing was read
	return resp.StatusCode == http.StatusOK
}

// restart starts the gateway, and returns when it is ready.
func (g *gateway) restart(ctx context.Context) error {
	if err := g.start(); err != nil {
		return err
	}
	return g.wait(ctx)
}

// wait returns when the gateway is ready.
func (g *gateway) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return g.ready(ctx)
}

// watch starts the gateway again when it ends by itself, as whatever runs it would. That it
// ends is broken, unless there was a fault that may be why.
func (g *gateway) watch(ctx context.Context) {
	for ctx.Err() == nil {
		ended, meant := g.life()
		select {
		case <-ended:
		case <-ctx.Done():
			return
		}
		if meant() {
			_ = pause(ctx, 10*time.Millisecond) // whoever ended it starts it
			continue
		}
		switch why := g.crashed(); {
		case why != "":
			g.lab.verdicts.fails("no crash", "%s has crashed: %s", g.name, why)
			return
		case !g.lab.isDisturbed():
			g.lab.verdicts.fails("no crash", "%s has ended by itself: %s", g.name, g.tail(5))
		}
		g.lab.note("%s has ended by itself, and is started again: %s", g.name, strings.TrimSpace(g.tail(1)))
		calm := g.lab.verdicts.disturbs(g.name, "it ended by itself")
		_ = pause(ctx, time.Second)
		if err := g.lab.begin(g, calm); err != nil {
			g.lab.note("%v", err)
		}
	}
}

// verify has the gateway's own program look at its copy, when it has ended.
func (g *gateway) verify(ctx context.Context) {
	if out, err := command(ctx, g.lab.binary, "log", "verify", g.folder); err != nil {
		g.lab.verdicts.fails("a sound copy", "%s: %v: %s", g.name, err, out)
	}
}

func (g *gateway) shutdown() {
	g.stop(syscall.SIGTERM)
	_ = g.conn.Close()
}
