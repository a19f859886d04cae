package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/webhook-gateway/webhook-gateway/server/secret"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

const (
	// maxAttempts is how often a delivery is sent whose connection breaks.
	maxAttempts = 4
	// firstRetry is the delay before the second attempt, doubled before each further.
	firstRetry = 100 * time.Millisecond
)

// triggerer sends deliveries as a provider does.
type triggerer struct {
	url     string
	client  string
	secrets map[string]secret.Secret // by the name of the provider
	http    *http.Client
	out     io.Writer
	paint   painter
	// Duplicate: send each delivery twice.
	duplicate bool
}

var errStopped = errors.New("stopped before an answer came")

// An answer of the gateway to a delivery.
type answer struct {
	code    int
	reason  string
	message string
	// Outcome is what became of a delivery that was answered 200.
	outcome string
}

func (a answer) ok() bool { return a.code == http.StatusOK }

// run sends the deliveries count times, one after the other.
func (t *triggerer) run(ctx context.Context, deliveries []delivery, count int, perSecond float64) error {
	limit := rate.NewLimiter(rate.Inf, 1)
	if perSecond > 0 {
		limit.SetLimit(rate.Limit(perSecond))
	}
	sent, refused := 0, 0
	for range count {
		for _, d := range t.copies(deliveries) {
			if err := limit.Wait(ctx); err != nil {
				return fmt.Errorf("stopped after %d deliveries", sent)
			}
			ok, err := t.send(ctx, d)
			if err != nil && sent > 0 {
				return fmt.Errorf("after %d deliveries: %w", sent, err)
			}
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

// copies returns the deliveries, those that are to be fresh under new event ids, and
// each twice if duplicates are wanted.
func (t *triggerer) copies(deliveries []delivery) []delivery {
	var list []delivery
	for _, d := range deliveries {
		if d.fresh {
			d.body = d.sender.Fresh(d.body)
		}
		list = append(list, d)
		if t.duplicate {
			list = append(list, d)
		}
	}
	return list
}

// send posts a delivery, prints the answer, and returns whether it is 200. What had
// no answer although a gateway may be there is printed too. An error means that it
// makes no sense to go on.
func (t *triggerer) send(ctx context.Context, d delivery) (bool, error) {
	start := time.Now()
	a, attempts, err := t.persist(ctx, d)
	if err != nil && !isBrokenOff(err) {
		return false, err
	}
	result := fmt.Sprintf("%d  %s", a.code, elapsed(time.Since(start)))
	if err != nil {
		result = "no answer: " + plainHTTPError(err)
	}
	line := fmt.Sprintf("%-8s  %-23s  %s", d.sender.Name(), d.what, t.paint.paint(answerColor(a.code), result))
	if text := a.outcomeText(); text != "" {
		line += "  " + text
	}
	if attempts > 1 {
		line += fmt.Sprintf("  [sent %d times: the connection was closed]", attempts)
	}
	if a.reason != "" {
		line += "  " + visible(a.reason) + ": " + clean(a.message)
	}
	if hint := t.hint(d, a); hint != "" {
		line += "\n    " + hint
	}
	_, err = fmt.Fprintln(t.out, line)
	return a.ok(), err
}

// persist posts a delivery until its connection does not break, and returns how
// often it did. A provider cannot know either whether the gateway has it.
func (t *triggerer) persist(ctx context.Context, d delivery) (a answer, attempts int, err error) {
	delay := firstRetry
	for attempts = 1; ; attempts++ {
		a, err = t.post(ctx, d)
		if !isBrokenOff(err) || attempts == maxAttempts {
			return a, attempts, err
		}
		select {
		case <-ctx.Done():
			return a, attempts, errStopped
		case <-time.After(delay):
		}
		delay *= 2
	}
}

// post sends a body and returns the answer. An error means that there was none.
func (t *triggerer) post(ctx context.Context, d delivery) (answer, error) {
	target, header := d.sender.Request(d.body, t.client, t.secrets[d.sender.Name()])
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(t.url, "/")+target, bytes.NewReader(d.body))
	if err != nil {
		return answer{}, usageError{errors.New("--url: this is no URL: give one such as http://localhost:8080")}
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := t.http.Do(req)
	if err != nil {
		if isBrokenOff(err) {
			return answer{}, err
		}
		if ctx.Err() != nil {
			return answer{}, errStopped
		}
		return answer{}, fmt.Errorf("%s: no answer: %s: is the gateway running? `webhook-gateway serve` starts one, --url names another",
			t.url, plainHTTPError(err))
	}
	defer func() { _ = resp.Body.Close() }() // it was read to its end, or is of no use
	a := answer{code: resp.StatusCode, outcome: resp.Header.Get(webhook.OutcomeHeader)}
	if a.ok() {
		return a, nil
	}
	a.reason, a.message = readRefusal(resp.Body)
	if a.reason == "" {
		a.reason, a.message = "NOT_A_GATEWAY", "what answers is not the webhook listener of a gateway: see --url"
	}
	return a, nil
}

// outcomeText says what became of a delivery, if it is not simply stored.
func (a answer) outcomeText() string {
	switch a.outcome {
	case webhook.OutcomeDuplicate:
		return "duplicate: it was stored before"
	case webhook.OutcomeConflict:
		return "conflict: another body was stored with this event id before, both are kept"
	case webhook.OutcomeProbeNotStored:
		return "not stored: a ping is answered 200 all the same"
	}
	return ""
}

// hint says what to do about an answer that a developer meets first.
func (t *triggerer) hint(d delivery, a answer) string {
	switch {
	case a.reason == "SOURCE_NOT_ALLOWED":
		return "This gateway takes " + d.sender.Name() + " only from the provider's own addresses, which trigger does not send from. To try it,\n" +
			"    add this machine to providers." + d.sender.Name() + ".source_addresses, or set providers." + d.sender.Name() + ".verification to report."
	case a.reason == "SIGNATURE_MISSING" && t.secrets[d.sender.Name()].IsZero():
		return "There is no secret to sign with: give --secret env:NAME or file:PATH, run in the folder of a gateway for development, or give --ephemeral for one for tests."
	case a.reason == "PATH_UNKNOWN":
		return "--url names the webhook listener of the gateway, such as http://localhost:8080, without a path below it."
	case a.reason == "SIGNATURE_MISMATCH":
		return "The gateway has another secret for the client " + visible(t.client) + ": see --secret and --client."
	}
	return ""
}
