package provider

import (
	"embed"
	"fmt"
	"net/http"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

// Sender plays a provider: it makes deliveries as the provider sends them, to
// try a gateway with.
type Sender interface {
	// Name is the provider's segment of the webhook path.
	Name() string

	// ID is the provider's value in events.
	ID() webhookgatewayv1.Provider

	// Samples returns a realistic body for every event type of the provider, in the
	// order of the enum EventType.
	Samples() []Sample

	// Session returns the type names of a typical run, in the order in which the
	// provider sends them.
	Session() []string

	// Fresh returns the body of a sample as a new event: under a new event id if
	// the provider has event ids. Any other body it returns as it is.
	Fresh(body []byte) []byte

	// Request returns where to POST a body and with which header so that it is
	// attributed to the client and, given the secret that the gateway is configured
	// with, verified. A zero secret leaves out what needs one. The target is a path
	// with an optional query.
	Request(body []byte, clientID string, s secret.Secret) (target string, header http.Header)
}

// Sample is a body as a provider sends it.
type Sample struct {
	// TypeName is the type of the event as the provider names it.
	TypeName string
	// Type is the type of the event.
	Type webhookgatewayv1.EventType
	// Body is not to be changed.
	Body []byte
}

// ReadSamples returns the types with the body of samples/<type name>.json. It
// panics if one is missing: the files are compiled in.
func ReadSamples(files embed.FS, types []Sample) []Sample {
	for i, t := range types {
		body, err := files.ReadFile("samples/" + t.TypeName + ".json")
		if err != nil {
			panic(fmt.Sprintf("read the sample of %s: %v", t.TypeName, err))
		}
		types[i].Body = body
	}
	return types
}
