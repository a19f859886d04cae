package finicity

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"net/http"
	"slices"
	"sync"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

const signatureHeader = "X-Finicity-Signature"

// client is a configured client, ready to verify.
type client struct {
	mode           provider.Mode
	keys           []*key
	requiredHeader string
	requiredSecret secret.Secret
}

// key is one secret.
type key struct {
	id string
	// macs holds *mac keyed with the secret: keying one costs two hash blocks.
	macs sync.Pool
}

// mac is a keyed hash and the space for its sum.
type mac struct {
	hash hash.Hash
	sum  [sha256.Size]byte
}

func newClient(config ClientConfig, mode provider.Mode) *client {
	c := &client{mode: config.mode(mode)}
	for _, id := range slices.Sorted(maps.Keys(config.Secrets)) {
		value := []byte(config.Secrets[id].Reveal())
		c.keys = append(c.keys, &key{id: id, macs: sync.Pool{New: func() any {
			return &mac{hash: hmac.New(sha256.New, value)}
		}}})
	}
	if config.RequiredHeader != nil {
		c.requiredHeader = http.CanonicalHeaderKey(config.RequiredHeader.Name)
		c.requiredSecret = config.RequiredHeader.Secret
	}
	return c
}

// Admit implements provider.Provider. The client is named by the path, so whoever
// tries paths can tell which of them are configured.
func (p *Provider) Admit(d *provider.Delivery) (clientID string, err error) {
	c, err := p.client(d)
	if err != nil {
		return "", err
	}
	if c.mode == provider.ModeEnforce {
		if _, failure := signature(d); failure != nil {
			return "", failure
		}
	}
	return d.ClientID, c.checkRequiredHeader(d)
}

// AnyClient implements provider.Provider.
func (p *Provider) AnyClient() bool { return false }

// Authenticate implements provider.Provider.
func (p *Provider) Authenticate(d *provider.Delivery) (provider.Identity, error) {
	c, err := p.client(d)
	if err != nil {
		return provider.Identity{}, err
	}
	var keyID string
	var failure *provider.Refusal
	if c.mode != provider.ModeOff {
		keyID, failure = c.verify(d)
	}
	verification, err := c.mode.Verification(webhookgatewayv1.VerificationMethod_VERIFICATION_METHOD_HMAC_SHA256, keyID, failure)
	if err != nil {
		return provider.Identity{}, err
	}
	if err := c.checkRequiredHeader(d); err != nil {
		return provider.Identity{}, err
	}
	return provider.Identity{
		ClientID: d.ClientID, Canary: d.ClientID == provider.CanaryClientID, Verification: verification, Failure: failure,
	}, nil
}

func (p *Provider) client(d *provider.Delivery) (*client, error) {
	if c := p.clients[d.ClientID]; c != nil {
		return c, nil
	}
	message := "the client in the path is not configured: see providers.finicity.clients"
	if d.ClientID == "" {
		message = fmt.Sprintf("the path names no client: the webhook URL is /v1/webhooks/%s/{client_id}", Name)
	}
	return nil, refuse(webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_UNKNOWN, message)
}

// signature returns the signature of a delivery, or why it has none to be checked.
func signature(d *provider.Delivery) (string, *provider.Refusal) {
	signatures := d.Header[signatureHeader]
	if len(signatures) == 0 || len(signatures) == 1 && signatures[0] == "" {
		return "", refuse(webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISSING,
			"the header "+signatureHeader+" is missing: only what Finicity signs is accepted")
	}
	// NOTE: with several signatures a proxy and the gateway could look at different
	// ones.
	if len(signatures) > 1 {
		return "", refuse(webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISMATCH,
			"the header "+signatureHeader+" is there more than once")
	}
	return signatures[0], nil
}

// verify returns which key signed the delivery and why it is not authentic, if it
// is not.
func (c *client) verify(d *provider.Delivery) (keyID string, failure *provider.Refusal) {
	given, failure := signature(d)
	if failure != nil {
		return "", failure
	}
	if keyID = c.match(given, d.Body); keyID == "" {
		return "", refuse(webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISMATCH,
			"the signature matches none of the client's secrets: check that the secret is the Partner Secret and that nothing on the way changes the body")
	}
	return keyID, nil
}

// checkRequiredHeader refuses a delivery without the required header. Unlike the
// signature, which Finicity leaves out of some deliveries, it is required in
// ModeReport too.
func (c *client) checkRequiredHeader(d *provider.Delivery) error {
	if c.requiredHeader == "" || c.mode == provider.ModeOff {
		return nil
	}
	values := d.Header[c.requiredHeader]
	if len(values) != 1 || !c.requiredSecret.Equal(values[0]) {
		return refuse(webhookgatewayv1.ErrorReason_ERROR_REASON_SHARED_SECRET_MISMATCH,
			"the required header is missing, repeated or wrong: give it to Finicity as webhookHeaders")
	}
	return nil
}

// match returns the id of the key that signed body, or nothing. It tries all keys
// whichever matches, so that its time does not tell. Finicity writes the
// signature in lower case; upper case is the same signature.
func (c *client) match(signature string, body []byte) (keyID string) {
	var given [sha256.Size]byte
	if len(signature) != hex.EncodedLen(len(given)) {
		return ""
	}
	if _, err := hex.Decode(given[:], []byte(signature)); err != nil {
		return ""
	}
	for _, k := range c.keys {
		if k.signed(body, &given) {
			keyID = k.id
		}
	}
	return keyID
}

func (k *key) signed(body []byte, given *[sha256.Size]byte) bool {
	m := k.macs.Get().(*mac)
	defer k.macs.Put(m)
	m.hash.Reset()
	m.hash.Write(body)
	return hmac.Equal(m.hash.Sum(m.sum[:0]), given[:])
}

// Sign returns the signature of a body: what Finicity sends in
// X-Finicity-Signature.
func Sign(s secret.Secret, body []byte) string {
	h := hmac.New(sha256.New, []byte(s.Reveal()))
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

func refuse(reason webhookgatewayv1.ErrorReason, message string) *provider.Refusal {
	return &provider.Refusal{Reason: reason, Message: message}
}
