package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

// forwardTimeout bounds the answer to one event that is sent on.
const forwardTimeout = 30 * time.Second

// A forwarder sends events on to a URL as their providers sent them, and prints the
// answers.
type forwarder struct {
	url   string
	http  *http.Client
	out   io.Writer
	note  func(format string, args ...any)
	paint painter

	sent, refused int
	toGateway     bool // it was said
}

func newForwarder(flag, to string, std streams) (*forwarder, error) {
	if err := checkURL(flag, to); err != nil {
		return nil, err
	}
	return &forwarder{
		url: to,
		http: &http.Client{
			Timeout: forwardTimeout,
			// A provider takes a redirection for an answer.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport:     http.DefaultTransport.(*http.Transport).Clone(), // it is one
		},
		out:   std.out,
		note:  noteTo(std.err),
		paint: std.painter(),
	}, nil
}

func (f *forwarder) close() { f.http.CloseIdleConnections() }

// forward sends an event, of the view RAW, and prints what was answered. Its error
// means that nothing more can be sent or printed.
func (f *forwarder) forward(ctx context.Context, event *webhookgatewayv1.Event) error {
	start := time.Now()
	code, err := f.post(ctx, event)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	f.sent++
	answer := f.paint.paint(answerColor(code), fmt.Sprintf("%d  %s", code, elapsed(time.Since(start))))
	if err != nil {
		answer = f.paint.paint(red, "no answer: "+plainHTTPError(err))
	}
	if code < 200 || code > 299 {
		f.refused++
	}
	_, err = fmt.Fprintf(f.out, "%s  %-8s  %-23s  %s  %s\n",
		event.GetReceiveTime().AsTime().Local().Format(timeLayout), providerName(event), typeName(event), event.GetId(), answer)
	return err
}

// post sends an event and returns the status of the answer.
func (f *forwarder) post(ctx context.Context, event *webhookgatewayv1.Event) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(event.GetRawBody()))
	if err != nil {
		return 0, err
	}
	for _, h := range event.GetHeaders() {
		req.Header.Add(h.GetName(), h.GetValue())
	}
	resp, err := f.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read, or is of no use
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.Header.Get(webhook.OutcomeHeader) != "" && !f.toGateway {
		f.toGateway = true
		f.note("%s is a webhook gateway: if it is the one that the events come from, it stores what has no event id (all of Vezgo) again, and it comes again, for ever", f.url)
	}
	return resp.StatusCode, nil
}

// result is an error if an event was not answered 2xx.
func (f *forwarder) result() error {
	if f.refused == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d events were not answered 2xx: `webhook-gateway events resend ID --to URL` sends one again", f.refused, f.sent)
}

// checkURL returns what is wrong with the URL of a web server that a flag gives.
func checkURL(flag, text string) error {
	u, err := url.Parse(text)
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" {
		return nil
	}
	if !strings.Contains(text, "://") {
		if u, err := url.Parse("http://" + text); err == nil && u.Hostname() != "" {
			return usageError{fmt.Errorf("%s: a URL begins with http:// or https://: give http://%s", flag, u.Host+u.Path)}
		}
	}
	return usageError{fmt.Errorf("%s: a URL is such as http://localhost:8080", flag)}
}
