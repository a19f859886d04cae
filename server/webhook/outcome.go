package webhook

import (
	"context"
	"net/http"

	"google.golang.org/protobuf/proto"
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
	if outcome := deliveryFrom(ctx).outcome; outcome != "" {
		w.Header().Set(OutcomeHeader, outcome)
	}
	return nil
}
