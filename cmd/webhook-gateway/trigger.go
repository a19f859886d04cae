package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

const (
	maxTriggerCount = 100_000
	maxTriggerRate  = 1_000
)

type triggerOptions struct {
	all, session bool
	data         string
	provider     string
	url          string
	client       string
	secret       string
	vezgoSecret  string
	count        int
	rate         float64
}

func newTrigger(std streams) *cobra.Command {
	var o triggerOptions
	c := &cobra.Command{
		Use:   "trigger [TYPE...]",
		Short: "Send deliveries as the providers send them",
		Long: `trigger plays the providers: it sends a gateway realistic deliveries over HTTP,
signed as the provider signs, each under a new event id, and prints the answers.

The Finicity secret is that of a gateway for development (` + server.DefaultConfig().Store.Pebble.Path + `/` + devSecretFile + `)
unless --secret names another. It ends with 1 if a delivery is not answered 200.`,
		Example: `  webhook-gateway trigger finicity.added SyncError
  webhook-gateway trigger --all
  webhook-gateway trigger --session
  webhook-gateway trigger --data body.json --provider vezgo --client my-app
  webhook-gateway trigger added --url https://hooks.example.com --client acme --secret env:FINICITY_SECRET`,
		ValidArgsFunction: completeTypes,
		RunE: func(cmd *cobra.Command, args []string) error {
			deliveries, err := o.deliveries(args)
			if err != nil {
				return err
			}
			secrets, err := o.secrets(std.environ)
			if err != nil {
				return err
			}
			t := &triggerer{
				url:     o.url,
				client:  o.client,
				secrets: secrets,
				http:    &http.Client{Timeout: 30 * time.Second},
				out:     std.out,
			}
			defer t.http.CloseIdleConnections()
			return t.run(cmd.Context(), deliveries, o.count, o.rate)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.all, "all", false, "one delivery of every event type")
	f.BoolVar(&o.session, "session", false, "the deliveries of a typical run of the provider, in order")
	f.StringVar(&o.data, "data", "", "send the body in this `file` as it is")
	f.StringVarP(&o.provider, "provider", "p", "finicity", "the `provider` of --session and --data")
	f.StringVar(&o.url, "url", "http://localhost:8080", "the `URL` of the gateway's webhook listener")
	f.StringVarP(&o.client, "client", "c", devClient, "the client `id` that the deliveries belong to")
	f.StringVar(&o.secret, "secret", "", "the Finicity `secret` as env:NAME or file:PATH")
	f.StringVar(&o.vezgoSecret, "vezgo-secret", "", "the `secret` that Vezgo's URL has, as env:NAME or file:PATH")
	f.IntVar(&o.count, "count", 1, "send everything this `number` of times")
	f.Float64Var(&o.rate, "rate", 0, "at most this `number` of deliveries a second (default one after the other, without a pause)")
	_ = c.RegisterFlagCompletionFunc("provider", completeProviders) // fails only for a flag that does not exist
	return c
}

// A delivery to send.
type delivery struct {
	sender provider.Sender
	what   string
	body   []byte
	// Fresh: under a new event id each time.
	fresh bool
}

func (o triggerOptions) deliveries(types []string) ([]delivery, error) {
	chosen := 0
	for _, given := range []bool{len(types) > 0, o.all, o.session, o.data != ""} {
		if given {
			chosen++
		}
	}
	switch {
	case chosen != 1:
		return nil, usageError{errors.New("what should be sent? Give event types, such as `trigger added SyncError`, or --all, or --session, or --data")}
	case o.count < 1 || o.count > maxTriggerCount:
		return nil, usageError{fmt.Errorf("--count is 1 to %d", maxTriggerCount)}
	case o.rate < 0 || o.rate > maxTriggerRate:
		return nil, usageError{fmt.Errorf("--rate is at most %d", maxTriggerRate)}
	}
	sender, err := findSender(o.provider)
	if err != nil {
		return nil, err
	}
	if o.data != "" {
		body, err := os.ReadFile(o.data)
		if err != nil {
			return nil, usageError{fmt.Errorf("--data: %w", err)}
		}
		return []delivery{{sender: sender, what: filepath.Base(o.data), body: body}}, nil
	}
	if o.all {
		types = typeNames()
	}
	if o.session {
		for _, name := range sender.Session() {
			types = append(types, sender.Name()+"."+name)
		}
	}
	var list []delivery
	for _, name := range types {
		t, err := findType(name)
		if err != nil {
			return nil, err
		}
		list = append(list, delivery{sender: t.sender, what: t.sample.TypeName, body: t.sample.Body, fresh: true})
	}
	return list, nil
}

// secrets returns the secrets by the name of the provider.
func (o triggerOptions) secrets(environ []string) (map[string]secret.Secret, error) {
	kept := filepath.Join(server.DefaultConfig().Store.Pebble.Path, devSecretFile)
	if o.secret == "" {
		if _, err := os.Stat(kept); err == nil {
			o.secret = "file:" + kept
		}
	}
	secrets := make(map[string]secret.Secret)
	for _, s := range []struct{ flag, provider, ref string }{
		{"--secret", "finicity", o.secret},
		{"--vezgo-secret", "vezgo", o.vezgoSecret},
	} {
		if s.ref == "" {
			continue
		}
		resolved, err := secret.Resolve(s.ref, environ)
		if err != nil {
			return nil, usageError{fmt.Errorf("%s: %w", s.flag, err)}
		}
		secrets[s.provider] = resolved
	}
	return secrets, nil
}

// run sends the deliveries count times, one after the other.
func (t *triggerer) run(ctx context.Context, deliveries []delivery, count int, perSecond float64) error {
	limit := rate.NewLimiter(rate.Inf, 1)
	if perSecond > 0 {
		limit.SetLimit(rate.Limit(perSecond))
	}
	sent, refused := 0, 0
	for range count {
		for _, d := range deliveries {
			if err := limit.Wait(ctx); err != nil {
				return fmt.Errorf("stopped after %d deliveries: %w", sent, err)
			}
			ok, err := t.send(ctx, d)
			if err != nil {
				return err
			}
			sent++
			if !ok {
				refused++
			}
		}
	}
	if refused > 0 {
		return fmt.Errorf("%d of %d deliveries were not answered 200", refused, sent)
	}
	return nil
}
