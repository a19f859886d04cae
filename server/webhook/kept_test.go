package webhook_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

// kept keeps what was refused.
type kept struct {
	mu      sync.Mutex
	refused []webhook.Refused
}

func (k *kept) Record(refused webhook.Refused) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refused = append(k.refused, refused)
}

// Each refusal is kept before it is answered, with the size of the body as far as it is known.
func TestRefusalsAreKept(t *testing.T) {
	t.Parallel()
	const mismatch, large = webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISMATCH, webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_TOO_LARGE
	body := `{"a":"` + strings.Repeat("a", 50) + `"}`
	for _, test := range []struct {
		name    string
		chunked bool
		maxBody int64
		reason  webhookgatewayv1.ErrorReason
		bytes   int64
	}{
		{"after the body", false, 100, mismatch, int64(len(body))},
		{"after a body of unknown length", true, 100, mismatch, int64(len(body))},
		{"before the body", false, 20, large, int64(len(body))},
		{"in a body of unknown length", true, 20, large, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			k := &kept{}
			f := newFixture(t, func(f *fixture) {
				f.refused, f.cfg.MaxBodyBytes = k, test.maxBody
				f.provider.refusal = &provider.Refusal{Reason: mismatch, Message: "no"}
			})
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+f.listen(t)+"/v1/webhooks/fake", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if test.chunked {
				req.ContentLength = -1
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			k.mu.Lock()
			defer k.mu.Unlock()
			if len(k.refused) != 1 {
				t.Fatalf("kept are %v", k.refused)
			}
			if got := k.refused[0]; got.Reason != test.reason || got.BodyBytes != test.bytes || got.HTTPStatus != resp.StatusCode ||
				got.Message == "" || got.Source.String() != "127.0.0.1" || got.Trace != nil {
				t.Errorf("kept is %+v, answered %d", got, resp.StatusCode)
			}
		})
	}
}
