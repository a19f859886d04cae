package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

// triggerer sends deliveries as a provider does.
type triggerer struct {
	url     string
	client  string
	secrets map[string]secret.Secret // by the name of the provider
	http    *http.Client
	out     io.Writer
}

// An answer of the gateway to a delivery.
type answer struct {
	code    int
	reason  string
	message string
}

func (a answer) ok() bool { return a.code == http.StatusOK }

// post sends a body and returns the answer. An error means that there was none.
func (t *triggerer) post(ctx context.Context, d delivery) (answer, error) {
	target, header := d.sender.Request(d.body, t.client, t.secrets[d.sender.Name()])
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(t.url, "/")+target, bytes.NewReader(d.body))
	if err != nil {
		return answer{}, usageError{fmt.Errorf("--url: %w", withoutQuery(err))}
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := t.http.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("%w: is the gateway running? `webhook-gateway serve` starts one, --url names another", withoutQuery(err))
	}
	defer func() { _ = resp.Body.Close() }() // it was read to its end, or is of no use
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return answer{}, fmt.Errorf("read the answer: %w", err)
	}
	var refusal struct {
		Error struct {
			Reason  string `json:"reason"`
			Message string `json:"message"`
		} `json:"error"`
	}
	a := answer{code: resp.StatusCode}
	if !a.ok() && json.Unmarshal(text, &refusal) == nil {
		a.reason, a.message = refusal.Error.Reason, refusal.Error.Message
	}
	return a, nil
}

// send posts a delivery, prints the answer, and returns whether it is 200.
func (t *triggerer) send(ctx context.Context, d delivery) (bool, error) {
	if d.fresh {
		d.body = d.sender.Fresh(d.body)
	}
	start := time.Now()
	a, err := t.post(ctx, d)
	if err != nil {
		return false, err
	}
	line := fmt.Sprintf("%-8s  %-23s  %d  %s", d.sender.Name(), d.what, a.code, elapsed(time.Since(start)))
	if !a.ok() {
		line += "  " + visible(a.reason) + ": " + clean(a.message)
	}
	if hint := t.hint(d, a); hint != "" {
		line += "\n    " + hint
	}
	_, err = fmt.Fprintln(t.out, line)
	return a.ok(), err
}

// hint says what to do about an answer that a developer meets first.
func (t *triggerer) hint(d delivery, a answer) string {
	switch {
	case a.reason == "SOURCE_NOT_ALLOWED":
		return "This gateway takes " + d.sender.Name() + " only from the provider's own addresses, which trigger does not send from. To try it,\n" +
			"    add this machine to providers." + d.sender.Name() + ".source_addresses, or set providers." + d.sender.Name() + ".verification to report."
	case a.reason == "SIGNATURE_MISSING" && t.secrets[d.sender.Name()].IsZero():
		return "There is no secret to sign with: give --secret env:NAME or file:PATH, or run in the folder of a gateway for development."
	case a.reason == "SIGNATURE_MISMATCH":
		return "The gateway has another secret for the client " + visible(t.client) + ": see --secret and --client."
	}
	return ""
}

// withoutQuery removes the query from the URL in an error of net/http: it may
// hold a secret.
func withoutQuery(err error) error {
	message := err.Error()
	before, after, found := strings.Cut(message, "?")
	if !found {
		return err
	}
	_, rest, _ := strings.Cut(after, `"`)
	return fmt.Errorf("%s\"%s", before, rest)
}
