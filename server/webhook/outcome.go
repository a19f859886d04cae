package webhook

import (
	"context"
	"net/http"

	"google.golang.org/protobuf/proto"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// OutcomeHeader is the header of an answer 200 that says what became of the
// delivery. Providers ignore it; people who send by hand see whether it was new.
const OutcomeHeader = "Webhook-Gateway-Outcome"

// The outcomes, as OutcomeHeader and the metric of deliveries have them.
const (
	OutcomeStored         = "stored"
	OutcomeDuplicate      = "duplicate"        // its event id is stored, with this body
	OutcomeConflict       = "conflict"         // stored; its event id was, with another body
	OutcomeProbeNotStored = "probe_not_stored" // a ping while the log fails
)

// tellOutcome sets the header of an answer 200.
func tellOutcome(ctx context.Context, w http.ResponseWriter, _ proto.Message) error {
	d := deliveryFrom(ctx)
	// Who is not the provider learns nothing of what is stored.
	if outcome := d.outcome; outcome != "" && d.verdict != webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED {
		w.Header().Set(OutcomeHeader, outcome)
	}
	return nil
}
