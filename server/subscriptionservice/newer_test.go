package subscriptionservice_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpcmetadata "google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	clusterv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/cluster/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// newer returns a message with a field of a later version.
func newer[M proto.Message](m M) M {
	m.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
	return m
}

// peerOf returns a connection to a gateway, and the context of calls, of another gateway of the
// cluster.
func peerOf(t *testing.T, n *node, caller *clusterv1.Caller) (*grpc.ClientConn, context.Context) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+n.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	carried, err := proto.Marshal(caller)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return conn, grpcmetadata.AppendToOutgoingContext(ctx, "webhook-gateway-peer-secret", peerSecret, "webhook-gateway-caller-bin", string(carried))
}

// everybody may do everything.
func everybody() *clusterv1.Caller {
	return (&access.Caller{Name: "all", Grants: []*access.Grant{{
		Filters: []*webhookgatewayv1.EventFilter{{}}, Subscriptions: []access.SubscriptionGrant{{Manage: true}}, Operator: true,
	}}}).Carry()
}

// TestOwnerDoesNotKnowTheCall: a call that the owner is too old for was not made, and is answered
// so. It is not said that it may have been.
func TestOwnerDoesNotKnowTheCall(t *testing.T) {
	t.Parallel()
	n := replaced(t, func(peerCall) error { return nil }) // it has no SubscriptionService
	for name, call := range map[string]func() error{
		"Acknowledge": func() error {
			_, err := n.Acknowledge(t.Context(), &webhookgatewayv1.AcknowledgeRequest{Subscription: "team", AckTokens: []string{"one"}})
			return err
		},
		"GetSubscription": func() error {
			_, err := n.GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: "team"})
			return err
		},
		"ListSubscriptions": func() error {
			_, err := n.ListSubscriptions(t.Context(), &webhookgatewayv1.ListSubscriptionsRequest{})
			return err
		},
	} {
		err := call()
		checkError(t, err, "Unavailable SUBSCRIPTION_MOVING")
		if !strings.Contains(status.Convert(err).Message(), "older version") || rpcerr.Metadata(err)["unreachable"] != "" {
			t.Errorf("%s: %v, want that the owner is of an older version", name, err)
		}
	}
}

// TestStepOfNewerGateway: a gateway that does not know all of what a newer one asks for refuses it,
// and gives back unused what the worker there holds: no settlement is taken for another step.
func TestStepOfNewerGateway(t *testing.T) {
	t.Parallel()
	n := newCluster(t, 1)[0]
	n.create(t, "team", nil)
	n.add(t, 1)
	conn, ctx := peerOf(t, n, everybody())
	open := &clusterv1.ConsumeRequest_Open{Open: &clusterv1.Open{Subscription: "team"}}
	for name, step := range map[string]*clusterv1.ConsumeRequest{
		"a step":             newer(&clusterv1.ConsumeRequest{}),
		"a want":             {Step: &clusterv1.ConsumeRequest_Want{Want: newer(&clusterv1.Want{Deliveries: 1})}},
		"an end":             {Step: &clusterv1.ConsumeRequest_End{End: newer(&clusterv1.End{Broke: true})}},
		"an end with a step": newer(&clusterv1.ConsumeRequest{Step: &clusterv1.ConsumeRequest_End{End: &clusterv1.End{Broke: true}}}),
	} {
		call, err := clusterv1.NewPeerServiceClient(conn).Consume(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, req := range []*clusterv1.ConsumeRequest{
			{Step: open}, {Step: &clusterv1.ConsumeRequest_Want{Want: &clusterv1.Want{Deliveries: 1}}},
		} {
			if err := call.Send(req); err != nil {
				t.Fatal(err)
			}
		}
		held := 0
		for held == 0 {
			resp, err := call.Recv()
			if err != nil {
				t.Fatal(err)
			}
			held = len(resp.GetDeliveries())
		}
		if err := call.Send(step); err != nil && err != io.EOF { //nolint:errorlint // as gRPC says
			t.Fatal(err)
		}
		if _, err := call.Recv(); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "field 99") {
			t.Errorf("%s is answered %v", name, err)
		}
	}
	first := newer(&clusterv1.Open{Subscription: "team"})
	call, err := clusterv1.NewPeerServiceClient(conn).Consume(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_ = call.Send(&clusterv1.ConsumeRequest{Step: &clusterv1.ConsumeRequest_Open{Open: first}}) // why it fails is received
	if _, err := call.Recv(); status.Code(err) != codes.Unimplemented {
		t.Errorf("it is opened: %v", err)
	}
	d := n.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"}).take(1)
	if d[0].GetAttempt() != 1 {
		t.Errorf("a refusal counted as an attempt: %v", d)
	}
	n.acknowledge(t, "team", ok, d...)
}

// TestGrantOfNewerGateway: a grant that says more than this version knows may say what must not be
// read. The call is refused.
func TestGrantOfNewerGateway(t *testing.T) {
	t.Parallel()
	n := newCluster(t, 1)[0]
	n.create(t, "team", nil)
	for name, change := range map[string]func(*clusterv1.Caller){
		"nothing":       nil,
		"of the caller": func(c *clusterv1.Caller) { newer(c) },
		"of the grant":  func(c *clusterv1.Caller) { newer(c.GetGrants()[0]) },
		"of its filter": func(c *clusterv1.Caller) { newer(c.GetGrants()[0].GetFilters()[0]) },
		"of its prefix": func(c *clusterv1.Caller) { newer(c.GetGrants()[0].GetSubscriptions()[0]) },
	} {
		caller, want := everybody(), codes.OK
		if change != nil {
			change(caller)
			want = codes.Unimplemented
		}
		conn, ctx := peerOf(t, n, caller)
		_, err := webhookgatewayv1.NewSubscriptionServiceClient(conn).GetSubscription(ctx, &webhookgatewayv1.GetSubscriptionRequest{Name: "team"})
		if status.Code(err) != want {
			t.Errorf("a field %s is answered %v, want %v", name, err, want)
		}
	}
}

// TestFiltersOfNewerOwner: a worker is told to look for another gateway when its own does not know
// what the owner delivers by.
func TestFiltersOfNewerOwner(t *testing.T) {
	t.Parallel()
	n := replaced(t, func(call peerCall) error {
		condition := newer(&webhookgatewayv1.EventFilter{})
		if err := call.Send(&clusterv1.ConsumeResponse{Filters: &clusterv1.Filters{Filters: []*webhookgatewayv1.EventFilter{condition}}}); err != nil {
			return err
		}
		<-call.Context().Done()
		return nil
	})
	w := n.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	_, err := w.stream.Recv()
	checkError(t, err, "Unavailable SUBSCRIPTION_MOVING")
}

// TestActionOfNewerClient: what an operator or a worker asks for is done as it was asked for or not at all,
// whichever gateway runs the subscription.
func TestActionOfNewerClient(t *testing.T) {
	t.Parallel()
	nodes := newCluster(t, 2)
	nodes[0].create(t, "team", nil)
	owner, others := ownerOf(nodes, "team")
	owner.add(t, 3)
	w := owner.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	d := w.take(3)
	held := tokens(d[2])
	if _, err := owner.Reject(t.Context(), &webhookgatewayv1.RejectRequest{
		Subscription: "team", AckTokens: tokens(d[:2]...), Action: webhookgatewayv1.RejectAction_REJECT_ACTION_PARK,
	}); err != nil {
		t.Fatal(err)
	}
	before := owner.status(t, "team")
	for _, n := range []*node{owner, others[0]} {
		_, err := n.CreateSubscription(t.Context(), newer(&webhookgatewayv1.CreateSubscriptionRequest{Subscription: &webhookgatewayv1.Subscription{Name: "new"}}))
		checkError(t, err, "InvalidArgument INVALID_FIELD")
		_, err = n.UpdateSubscription(t.Context(), newer(&webhookgatewayv1.UpdateSubscriptionRequest{
			Subscription: &webhookgatewayv1.Subscription{Name: "team", Filters: []*webhookgatewayv1.EventFilter{{ClientIds: []string{"nobody"}}}},
			UpdateMask:   &fieldmaskpb.FieldMask{Paths: []string{"filters"}},
		}))
		checkError(t, err, "InvalidArgument INVALID_FIELD")
		_, err = n.Acknowledge(t.Context(), newer(&webhookgatewayv1.AcknowledgeRequest{Subscription: "team", AckTokens: held}))
		checkError(t, err, "InvalidArgument INVALID_FIELD")
		_, err = n.Reject(t.Context(), newer(&webhookgatewayv1.RejectRequest{
			Subscription: "team", AckTokens: held, Action: webhookgatewayv1.RejectAction_REJECT_ACTION_SKIP,
		}))
		checkError(t, err, "InvalidArgument INVALID_FIELD")
		_, err = n.CommitCursor(t.Context(), newer(&webhookgatewayv1.CommitCursorRequest{
			Subscription: "team", Cursor: d[2].GetEvent().GetCursor(), AckToken: held[0],
		}))
		checkError(t, err, "InvalidArgument INVALID_FIELD")
		_, err = n.DeleteSubscription(t.Context(), newer(&webhookgatewayv1.DeleteSubscriptionRequest{Name: "team"}))
		checkError(t, err, "InvalidArgument INVALID_FIELD")
		_, err = n.SeekSubscription(t.Context(), newer(&webhookgatewayv1.SeekSubscriptionRequest{Name: "team", Start: earliest()}))
		checkError(t, err, "InvalidArgument INVALID_FIELD")
		_, err = n.ReplayParkedEvents(t.Context(), newer(&webhookgatewayv1.ReplayParkedEventsRequest{Subscription: "team", All: true}))
		checkError(t, err, "InvalidArgument INVALID_FIELD")
		_, err = n.DiscardParkedEvents(t.Context(), newer(&webhookgatewayv1.DiscardParkedEventsRequest{Subscription: "team", All: true}))
		checkError(t, err, "InvalidArgument INVALID_FIELD")
	}
	if after := owner.status(t, "team"); after.GetCursor() != before.GetCursor() || after.GetParkedEvents() != 2 {
		t.Errorf("the subscription was %v and is %v", before, after)
	}
	owner.acknowledge(t, "team", ok, d[2]) // nothing was settled
	if _, err := owner.UpdateSubscription(t.Context(), &webhookgatewayv1.UpdateSubscriptionRequest{
		Subscription: &webhookgatewayv1.Subscription{Name: "team", Status: newer(&webhookgatewayv1.SubscriptionStatus{})},
		UpdateMask:   &fieldmaskpb.FieldMask{Paths: []string{"settings.max_attempts"}},
	}); err != nil {
		t.Errorf("what a newer gateway says of a subscription is in the way of an update: %v", err)
	}
	if _, err := owner.GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: "new"}); status.Code(err) != codes.NotFound {
		t.Errorf("a subscription was created: %v", err)
	}
}
