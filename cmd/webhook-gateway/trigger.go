package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/ephemeral"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

const (
	maxTriggerCount = 100_000
	maxTriggerRate  = 1_000
	maxDataBytes    = 256 << 20
)

type triggerOptions struct {
	all, session bool
	data         string
	provider     string
	set          []string
	duplicate    bool
	url          string
	client       string
	secret       string
	vezgoSecret  string
	ephemeral    bool
	count        int
	rate         float64
}

func newTrigger(std streams) *cobra.Command {
	var o triggerOptions
	c := &cobra.Command{
		Use:   "trigger [TYPE...]",
		Short: "Send deliveries as the providers send them",
		Long: `trigger plays the providers: it sends a gateway realistic deliveries over HTTP,
signed as the provider signs, each under a new event id, and prints the answers. A
delivery whose connection breaks is sent again, as the providers do.

--set changes a field of the JSON body before it is signed: --set PATH=VALUE, where
the path names objects and elements of lists (payload.accounts.0.name). The value is
a text, or JSON where the body has no text; after := it is JSON.

The Finicity secret is that of a gateway for development (` + server.DefaultConfig().Store.Pebble.Path + `/` + devSecretFile + `)
unless --secret names another, or that of every gateway for tests with --ephemeral. It ends with 1 if a delivery is not answered 200.`,
		Example: `  webhook-gateway trigger finicity.added SyncError
  webhook-gateway trigger --all
  webhook-gateway trigger --session
  webhook-gateway trigger added --set payload.institutionId=100002 --set payload.oauth=false
  webhook-gateway trigger added --duplicate
  webhook-gateway trigger --data body.json --provider vezgo --client my-app
  echo '{"eventType":"ping","payload":{}}' | webhook-gateway trigger --data -
  webhook-gateway trigger added --url https://hooks.example.com --client acme --secret env:FINICITY_SECRET`,
		ValidArgsFunction: completeSentTypes,
		RunE: func(cmd *cobra.Command, args []string) error {
			deliveries, err := o.deliveries(args, std.in)
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
				paint:   std.painter(),

				duplicate: o.duplicate,
			}
			defer t.http.CloseIdleConnections()
			return t.run(cmd.Context(), deliveries, o.count, o.rate)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.all, "all", false, "one delivery of every event type")
	f.BoolVar(&o.session, "session", false, "the deliveries of a typical run of the provider, in order")
	f.StringVar(&o.data, "data", "", "send the body in this `file` as it is; - is standard input")
	f.StringVarP(&o.provider, "provider", "p", "finicity", "the `provider` of --session and --data")
	f.StringArrayVar(&o.set, "set", nil, "change a field of the body: `path=value` (repeat for more)")
	f.BoolVar(&o.duplicate, "duplicate", false, "send each delivery twice, as a provider that did not get the answer")
	f.StringVar(&o.url, "url", "http://localhost:8080", "the `URL` of the gateway's webhook listener")
	f.StringVarP(&o.client, "client", "c", devClient, "the client `id` that the deliveries belong to")
	f.StringVar(&o.secret, "secret", "", "the Finicity `secret` as env:NAME or file:PATH")
	f.StringVar(&o.vezgoSecret, "vezgo-secret", "", "the `secret` that Vezgo's URL has, as env:NAME or file:PATH")
	f.BoolVar(&o.ephemeral, "ephemeral", false, "sign with the secret of serve --ephemeral, which everybody knows")
	f.IntVar(&o.count, "count", 1, "send everything this `number` of times")
	f.Float64Var(&o.rate, "rate", 0, "at most this `number` of deliveries a second (default one after the other, without a pause)")
	isFile(c, "data")
	c.MarkFlagsMutuallyExclusive("ephemeral", "secret")
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

func (o triggerOptions) check(types []string) error {
	chosen := 0
	for _, given := range []bool{len(types) > 0, o.all, o.session, o.data != ""} {
		if given {
			chosen++
		}
	}
	switch {
	case chosen == 0:
		return usageError{errors.New("what should be sent? Give event types, such as `trigger added SyncError`, or --all, or --session, or --data")}
	case chosen > 1:
		return usageError{errors.New("give event types, or --all, or --session, or --data: one of them, not several")}
	case o.count < 1 || o.count > maxTriggerCount:
		return usageError{fmt.Errorf("--count must be 1 to %d, not %d", maxTriggerCount, o.count)}
	case math.IsNaN(o.rate) || o.rate < 0 || o.rate > maxTriggerRate:
		return usageError{fmt.Errorf("--rate must be more than 0 and at most %d, or 0 for no limit; not %v", maxTriggerRate, o.rate)}
	}
	return checkURL("--url", o.url)
}

func (o triggerOptions) deliveries(types []string, stdin io.Reader) ([]delivery, error) {
	if err := o.check(types); err != nil {
		return nil, err
	}
	list, err := o.chosen(types, stdin)
	if err != nil {
		return nil, err
	}
	for i := range list {
		for _, assignment := range o.set {
			if list[i].body, err = all.SetField(list[i].body, assignment); err != nil {
				return nil, usageError{fmt.Errorf("--set %w", err)}
			}
		}
	}
	return list, nil
}

func (o triggerOptions) chosen(types []string, stdin io.Reader) ([]delivery, error) {
	sender, err := findSender(o.provider)
	if err != nil {
		return nil, err
	}
	if o.data != "" {
		body, name, err := readData(o.data, stdin)
		if err != nil {
			return nil, usageError{fmt.Errorf("--data: %w", err)}
		}
		return []delivery{{sender: sender, what: name, body: body}}, nil
	}
	if o.all {
		types = all.TypeNames()
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
		list = append(list, delivery{sender: t.Sender, what: t.Sample.TypeName, body: t.Sample.Body, fresh: true})
	}
	return list, nil
}

// readData returns a body and what to call it.
func readData(file string, stdin io.Reader) (body []byte, name string, err error) {
	if file != "-" {
		body, err = os.ReadFile(file) //nolint:gosec // the user names it
		return body, filepath.Base(file), err
	}
	body, err = io.ReadAll(io.LimitReader(stdin, maxDataBytes+1))
	if err == nil && len(body) > maxDataBytes {
		err = fmt.Errorf("standard input has more than %d bytes, which no gateway takes", maxDataBytes)
	}
	return body, "standard input", err
}

// secrets returns the secrets by the name of the provider.
func (o triggerOptions) secrets(environ []string) (map[string]secret.Secret, error) {
	if o.ephemeral {
		return map[string]secret.Secret{"finicity": secret.New(ephemeral.FinicitySecret)}, nil
	}
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
