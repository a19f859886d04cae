package main

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// expiredGateway has events, and none of those that a stream of FAIL asks for.
type expiredGateway struct{ lyingGateway }

func (g *expiredGateway) Subscribe(req *webhookgatewayv1.SubscribeRequest, stream webhookgatewayv1.EventService_SubscribeServer) error {
	if req.GetOnExpired() != webhookgatewayv1.ExpiredPolicy_EXPIRED_POLICY_EARLIEST {
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_EXPIRED,
			"events after the cursor are no longer retained: start at earliest_cursor; a stream with on_expired EXPIRED_POLICY_EARLIEST goes on there by itself",
			rpcerr.WithMetadata("earliest_cursor", "cEarliest"), rpcerr.WithMetadata("earliest_time", "long ago"))
	}
	return g.lyingGateway.Subscribe(req, stream)
}

// An option of the API that the gateway suggests is an option of tail.
func TestTailOnExpired(t *testing.T) {
	g := &expiredGateway{lyingGateway{frames: []*webhookgatewayv1.SubscribeResponse{subscribedAt("c1"), eventsAfter("c1", "c2")}}}
	addr := serveEvents(t, g)
	args := []string{"tail", "--addr", addr, "--from", "cNotOneThatWasGivenOut00", "--max", "1"}
	code, out, errOut := execute(t, args...)
	if code != exitFailure || out != "" || !strings.Contains(errOut, "(CURSOR_EXPIRED, earliest_cursor cEarliest): in tail that is --on-expired earliest\n") {
		t.Errorf("ended with %d:\n%s%s", code, out, errOut)
	}
	if out := mustExecute(t, append(args, "--on-expired", "earliest")...); strings.Count(out, "\n") != 1 {
		t.Errorf("printed:\n%s", out)
	}
	if code, _, errOut := execute(t, append(args, "--on-expired", "ignore")...); code != exitUsage || !strings.Contains(errOut, "--on-expired must be fail or earliest") {
		t.Errorf("ended with %d: %s", code, errOut)
	}
	if err := explain("a", status.FromContextError(context.Canceled).Err()); strings.Contains(err.Error(), "on-expired") {
		t.Error(err)
	}
}
