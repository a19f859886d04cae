package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

// demoTimeout bounds the demo, which takes about a second.
const demoTimeout = time.Minute

func newDemo(std streams) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show everything at once: every event type in by HTTP, out by gRPC",
		Long: `demo starts a gateway on free ports with a store in a temporary folder, subscribes
to it over gRPC, sends it one delivery of every event type over HTTP, and shows the
events arriving. It also shows what a forged and a repeated delivery come to. It
ends by itself and leaves nothing behind.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), demoTimeout)
			defer cancel()
			dir, err := os.MkdirTemp("", "webhook-gateway-demo-")
			if err != nil {
				return fmt.Errorf("make a folder for the store: %w", err)
			}
			return errors.Join(demo(ctx, std, dir), os.RemoveAll(dir))
		},
	}
}

func demo(ctx context.Context, std streams, dir string) (err error) {
	w := std.out
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }

	s := secret.New(rand.Text())
	config := demoConfig(dir, s)
	gateway, err := server.New(ctx, config, newLogger(config.Log.Level, config.Log.Format, w))
	if err != nil {
		return err
	}
	runCtx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- gateway.Run(runCtx) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
		if err == nil {
			say("\nThe gateway said goodbye and ended. Now `%[1]s serve`, and `%[1]s tail` in another shell.", std.command())
		}
	}()
	addrs := gateway.Addrs()
	say("A gateway runs: webhooks on %s, gRPC on %s, REST on %s.", addrs.Webhooks, addrs.GRPC, addrs.InternalHTTP)

	conn, err := (&remote{addr: addrs.GRPC.String()}).dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing is left to lose
	stream, err := webhookgatewayv1.NewEventServiceClient(conn).Subscribe(runCtx, &webhookgatewayv1.SubscribeRequest{})
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	first, err := stream.Recv()
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	say("A subscriber is connected over gRPC, and starts at %s.\n", first.GetSubscribed().GetStartCursor())

	follow := chain{at: first.GetSubscribed().GetStartCursor()}
	arrived := make(chan received)
	go receive(runCtx, follow, stream.Recv, arrived)
	t := &triggerer{
		url:     "http://" + addrs.Webhooks.String(),
		client:  devClient,
		secrets: map[string]secret.Secret{"finicity": s},
		http:    &http.Client{Timeout: demoTimeout},
	}
	defer t.http.CloseIdleConnections()
	d := &demonstration{triggerer: t, arrived: arrived, w: w, say: say}
	return d.run(ctx)
}

// demoConfig is the configuration of a gateway on free ports.
func demoConfig(dir string, s secret.Secret) server.Config {
	config := localConfig()
	config.Listen = server.Listen{Webhooks: "127.0.0.1:0", GRPC: "127.0.0.1:0", InternalHTTP: "127.0.0.1:0"}
	config.Log.Level = slog.LevelError // the refusals are a part of the story
	config.Store.Pebble.Path = filepath.Join(dir, "data")
	acceptDevelopment(&config, s)
	return config
}

type received struct {
	event *webhookgatewayv1.Event
	err   error
}

// receive hands on the events of a stream until it ends. The chain is where the
// stream is.
func receive(ctx context.Context, follow chain, recv func() (*webhookgatewayv1.SubscribeResponse, error), arrived chan<- received) {
	for {
		response, err := recv()
		if err == nil {
			err = follow.follow(response)
		}
		list := []received{{err: err}}
		if err == nil {
			list = nil
			for _, event := range response.GetEvents().GetEvents() {
				list = append(list, received{event: event})
			}
		}
		for _, r := range list {
			select {
			case arrived <- r:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

type demonstration struct {
	*triggerer
	arrived <-chan received
	w       io.Writer
	say     func(format string, args ...any)
}

func (d *demonstration) run(ctx context.Context) error {
	types := all.EventTypes()
	d.say("One delivery of each of the %d event types, in by HTTP and out by gRPC:\n", len(types))
	var last, marker delivery
	for _, t := range types {
		sent := delivery{sender: t.Sender, what: t.Sample.TypeName, body: t.Sender.Fresh(t.Sample.Body)}
		if bytes.Contains(sent.body, []byte(`"eventId"`)) {
			last = sent
			marker = delivery{sender: t.Sender, what: t.Sample.TypeName, body: t.Sender.Fresh(t.Sample.Body)}
		}
		start := time.Now()
		if err := d.expect(ctx, sent, http.StatusOK); err != nil {
			return err
		}
		event, err := d.next(ctx)
		if err != nil {
			return err
		}
		if event.GetType() != t.Sample.Type {
			return fmt.Errorf("sent %s, and %s arrived", t.Sample.Type, event.GetType())
		}
		line := fmt.Sprintf("  %-8s  %-23s  in %-7s  %s", t.Sender.Name(), t.Sample.TypeName, elapsed(time.Since(start)), summary(event))
		d.say("%s", strings.TrimRight(line, " "))
	}

	forged := *d.triggerer
	forged.secrets = map[string]secret.Secret{last.sender.Name(): secret.New("a guess")}
	a, err := forged.post(ctx, last)
	if err != nil {
		return err
	}
	if a.code != http.StatusUnauthorized {
		return fmt.Errorf("a forged delivery was answered %d", a.code)
	}
	d.say("\nA forged delivery, signed with a guess, is refused: %d %s.", a.code, a.reason)

	// The retry must not arrive: what arrives next is what is sent after it.
	if err := d.expect(ctx, last, http.StatusOK); err != nil {
		return err
	}
	if err := d.expect(ctx, marker, http.StatusOK); err != nil {
		return err
	}
	event, err := d.next(ctx)
	if err != nil {
		return err
	}
	if id := event.GetProviderEventId(); !bytes.Contains(marker.body, []byte(id)) {
		return errors.New("a repeated delivery was stored twice")
	}
	d.say("A retry of %s, with the same event id, is answered 200 and stored once.", last.what)
	return nil
}

// expect sends a delivery that must be answered with a code.
func (d *demonstration) expect(ctx context.Context, sent delivery, code int) error {
	a, err := d.post(ctx, sent)
	if err != nil {
		return err
	}
	if a.code != code {
		return fmt.Errorf("%s %s was answered %d %s: %s", sent.sender.Name(), sent.what, a.code, a.reason, a.message)
	}
	return nil
}

func (d *demonstration) next(ctx context.Context) (*webhookgatewayv1.Event, error) {
	select {
	case r := <-d.arrived:
		return r.event, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
