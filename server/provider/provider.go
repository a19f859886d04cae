// Package provider is the contract of a provider: how its deliveries are
// attributed to a client, verified, and decoded. Each provider is a folder of
// its own; the list of them is in the package all.
package provider

import (
	"net/http"
	"net/netip"
	"net/url"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// Provider receives the deliveries of one sender of webhooks.
//
// All methods are safe for concurrent use and keep nothing of what they are
// given.
type Provider interface {
	// Name is the provider's segment of the webhook path, such as `finicity`.
	Name() string

	// ID is the provider's value in events.
	ID() webhookgatewayv1.Provider

	// Admit returns the client that a delivery belongs to, before its body is read. It
	// refuses what Authenticate would refuse whatever the body is, so that strangers
	// cost no more than their request's head. Any error is a *Refusal. Refusals do not
	// tell who is a client to those who are not the provider, as far as the head shows
	// that.
	Admit(d *Delivery) (clientID string, err error)

	// Authenticate attributes a delivery to a client and verifies it. Any error is
	// a *Refusal. What the configured verification mode accepts without being
	// authentic is no error: Identity.Verification says so. It does not look into
	// the body other than to verify it.
	Authenticate(d *Delivery) (Identity, error)

	// AnyClient reports whether a delivery may name a client that is not configured, so
	// that who names many must not get the share of many.
	AnyClient() bool

	// VerifiedHeaders returns the canonical names of the headers that Authenticate
	// looks at and that hold no secret. They are stored with every event.
	VerifiedHeaders() []string

	// SecretHeaders returns the canonical names of the headers that hold a required
	// secret. They are never stored, nor logged.
	SecretHeaders() []string

	// Decode turns a body into a typed payload. It returns a *Refusal if the body
	// is not one JSON object, and only then: whatever else it cannot represent it
	// leaves out of the payload and names in Event.DecodeError.
	Decode(body []byte) (Decoded, error)
}

// Delivery is one HTTP request of a provider.
type Delivery struct {
	// ClientID is the client that the path names; empty if it names none.
	ClientID string
	// Header of the request.
	Header http.Header
	// Query of the request URL.
	Query url.Values
	// Source is where the request came from, behind trusted proxies. Never an
	// IPv4-mapped IPv6 address. The zero Addr if it is not known.
	Source netip.Addr
	// Body is the body, byte for byte.
	Body []byte
}

// Identity is whom a delivery belongs to and how sure that is.
type Identity struct {
	// ClientID is never empty. It is CanaryClientID with Canary only.
	ClientID string
	// Canary tells that the gateway's own canary has sent the delivery, and signed it with a
	// secret that nobody else has.
	Canary bool
	// Verification travels with the event. Its source address is set by the caller.
	Verification *webhookgatewayv1.Verification
	// Failure is why a delivery that was accepted is not authentic, with what the
	// operator can do. For the log: an event carries only its stable reason. Nil if
	// the delivery is authentic, or was not checked.
	Failure *Refusal
}

// The longest names that are stored, in bytes. A provider leaves out what is
// longer, with a note in Event.DecodeError: it is no reason to refuse a delivery.
const (
	MaxEventIDBytes = 1024
	MaxSubjectBytes = 1024
)

// Decoded is what a body says.
type Decoded struct {
	// Event has type, type name, subject, provider's event id, payload and decode
	// error; nothing else. Events with the same subject are in order with each other.
	// The id is unique within the client: a retry is recognised by it.
	Event *webhookgatewayv1.Event
	// Probe says that the provider only tests the endpoint and must be answered OK
	// even if the event cannot be stored.
	Probe bool
}

// Refusal is why a delivery is refused.
type Refusal struct {
	// Reason is stable.
	Reason webhookgatewayv1.ErrorReason
	// Message tells the operator what was wrong and what to do. It never holds a
	// secret or a part of the body.
	Message string
}

func (r *Refusal) Error() string { return r.Message }
