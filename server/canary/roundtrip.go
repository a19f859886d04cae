package canary

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
)

// What is read of an answer, which may be anybody's.
const (
	maxAnswerBytes = 4 << 10  // more than a refusal has
	maxHeaderBytes = 64 << 10 // more than proxies add
)

// filters select the canary's events, and nothing else.
func filters() []*webhookgatewayv1.EventFilter {
	return []*webhookgatewayv1.EventFilter{{ClientIds: []string{provider.CanaryClientID}}}
}

// caller returns who reads the canary's events, and may nothing else.
func caller() *access.Caller {
	const view = webhookgatewayv1.EventView_EVENT_VIEW_METADATA
	return &access.Caller{Name: "canary", Method: access.MethodOwn, Grants: []*access.Grant{{
		Name: "canary", Filters: filters(), Views: []webhookgatewayv1.EventView{view},
	}}}
}

// roundTrip sends one delivery, and returns how long it took until its event came, or at
// which stage it failed, and why.
func (c *Canary) roundTrip(ctx context.Context, base string) (took time.Duration, failed stage, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // it ends the stream
	stream, err := webhookgatewayv1.NewEventServiceClient(c.Conn).Subscribe(access.AsOwn(ctx, caller()), &webhookgatewayv1.SubscribeRequest{
		Filters: filters(), View: webhookgatewayv1.EventView_EVENT_VIEW_METADATA,
	})
	if err != nil {
		return 0, stageSubscribe, err
	}
	first, err := stream.Recv()
	if err == nil && first.GetSubscribed() == nil {
		err = errors.New("the stream does not begin with `subscribed`")
	}
	if err != nil {
		return 0, stageSubscribe, err
	}
	begun := time.Now()
	id := "canary-" + rand.Text()
	code, reason, err := c.deliver(ctx, base, id)
	if err != nil {
		return 0, stageSend, err
	}
	if code == http.StatusUnauthorized {
		return 0, stageAnswer, fmt.Errorf("it was answered %d %s: another gateway answers at canary.url, which must lead to this one alone, or something on the way changes the body", code, reason)
	}
	if code != http.StatusOK {
		return 0, stageAnswer, fmt.Errorf("it was answered %d %s", code, reason)
	}
	for {
		frame, err := stream.Recv()
		if err != nil {
			return 0, stageReceive, err
		}
		for _, event := range frame.GetEvents().GetEvents() {
			if event.GetProviderEventId() == id {
				return time.Since(begun), "", nil
			}
		}
	}
}

// deliver sends an event with an id as Finicity does, over a connection of its own, and
// returns how that was answered. It follows no redirects: providers do not either.
func (c *Canary) deliver(ctx context.Context, base, id string) (code int, reason string, err error) {
	body := fmt.Appendf(nil, `{"customerId":%q,"eventType":"started","eventId":%q,"payload":{}}`, provider.CanaryClientID, id)
	target, header := finicity.Sender{}.Request(body, provider.CanaryClientID, c.Secret)
	transport := &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeaderBytes}
	if base == "" {
		base = c.Own
		transport.TLSClientConfig = &tls.Config{
			MinVersion:         tls.VersionTLS12,
			InsecureSkipVerify: true, //nolint:gosec // the gateway's own listener, whatever name its certificate has; nothing secret is sent
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(base, "/")+target, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header = header
	req.Header.Set("User-Agent", provider.CanaryClientID)
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }() // what is of use was read
	var refusal struct{ Error struct{ Reason string } }
	_ = json.NewDecoder(io.LimitReader(resp.Body, maxAnswerBytes)).Decode(&refusal) // it may be anybody's, and anything
	return resp.StatusCode, fmt.Sprintf("%.64q", refusal.Error.Reason), nil
}
