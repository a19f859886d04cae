package subscriptionservice_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	grpcmetadata "google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	clusterv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/cluster/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/cluster"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
	"github.com/webhook-gateway/webhook-gateway/server/stream/streamtest"
)

// peerCall is a call of another gateway for a worker.
type peerCall = grpc.BidiStreamingServer[clusterv1.ConsumeRequest, clusterv1.ConsumeResponse]

// impostor is a gateway that does as a test says.
type impostor struct {
	clusterv1.UnimplementedPeerServiceServer
	consume func(peerCall) error
}

func (i impostor) Consume(call peerCall) error { return i.consume(call) }

// replaced returns a gateway that does not own a subscription. What it passes on to the owner
// comes to a function: the worker is attached, and its gateway wants deliveries.
func replaced(t *testing.T, consume func(peerCall) error) *node {
	t.Helper()
	nodes := newCluster(t, 2)
	nodes[0].create(t, "team", nil)
	owner, others := ownerOf(nodes, "team")
	n := others[0]
	member, _ := n.cluster.View().Owner("team")
	conn, err := n.cluster.Conn(member)
	if err != nil || !cluster.Ready(t.Context(), conn) {
		t.Fatal("the owner cannot be reached", err)
	}
	owner.peers.Stop()
	conn.WaitForStateChange(t.Context(), connectivity.Ready) // or calls would go to the owner still
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", owner.address)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	clusterv1.RegisterPeerServiceServer(server, impostor{consume: func(call peerCall) error {
		if _, err := call.Recv(); err != nil {
			return err
		}
		if err := call.Send(&clusterv1.ConsumeResponse{Filters: &clusterv1.Filters{}}); err != nil {
			return err
		}
		if req, err := call.Recv(); err != nil || req.GetWant().GetDeliveries() == 0 {
			t.Errorf("%v, %v: want a want", req, err)
			return err
		}
		return consume(call)
	}})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	if !cluster.Ready(t.Context(), conn) { // a call would wait for that, for two seconds
		t.Fatal("the impostor cannot be reached")
	}
	return n
}

// TestOwnerFailsWorkerIsNotToBlame: whatever another gateway does wrong, and whenever, a
// worker whose stream ends for it has not failed.
func TestOwnerFailsWorkerIsNotToBlame(t *testing.T) {
	t.Parallel()
	for name, consume := range map[string]func(peerCall) error{
		"answers nonsense when a heartbeat is due": func(call peerCall) error {
			if req, err := call.Recv(); err != nil || req.GetWant() == nil {
				t.Errorf("%v, %v: want another want", req, err)
			}
			return call.Send(&clusterv1.ConsumeResponse{Filters: &clusterv1.Filters{Filters: []*webhookgatewayv1.EventFilter{{Providers: []webhookgatewayv1.Provider{99}}}}})
		},
		"hands out what cannot be read": func(call peerCall) error {
			return call.Send(&clusterv1.ConsumeResponse{Deliveries: []*clusterv1.Delivery{{Position: 0, AckToken: "token", Deadline: durationpb.New(time.Minute)}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ends := make(chan *clusterv1.End, 1)
			n := replaced(t, func(call peerCall) error {
				if err := consume(call); err != nil {
					return err
				}
				for {
					req, err := call.Recv()
					if err != nil {
						return err
					}
					if end := req.GetEnd(); end != nil {
						ends <- end
						return nil
					}
				}
			})
			n.add(t, 1)
			w := n.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team", HeartbeatInterval: durationpb.New(time.Second)})
			w.end()
			select {
			case end := <-ends:
				if end.GetBroke() {
					t.Errorf("the worker is to blame: %v", end)
				}
			case <-time.After(time.Minute):
				t.Error("the share does not end")
			}
		})
	}
}

// TestOwnerEndsWhileDeliveriesWait: what an owner handed out before it ended the share is not
// sent to the worker any more: it may be another's by now, and settled. The worker is told at
// once, not when their events come.
func TestOwnerEndsWhileDeliveriesWait(t *testing.T) {
	t.Parallel()
	n := replaced(t, func(call peerCall) error {
		if err := call.Send(&clusterv1.ConsumeResponse{Deliveries: []*clusterv1.Delivery{
			{Position: 1, Attempt: 1, AckToken: "one", Deadline: durationpb.New(time.Minute)},
			{Position: 2, Attempt: 1, AckToken: "two", Deadline: durationpb.New(time.Minute)},
		}}); err != nil {
			return err
		}
		return rpcerr.Error(moving, "it is another's")
	})
	n.add(t, 1)
	w := n.consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
	for {
		frame, err := w.stream.Recv()
		if err != nil {
			if rpcerr.Reason(err) != moving || !strings.Contains(err.Error(), "it is another's") {
				t.Errorf("the stream ended with %v", err)
			}
			return
		}
		if len(frame.GetDeliveries().GetDeliveries()) > 0 {
			t.Errorf("it is handed out: %v", frame)
		}
	}
}

// TestStrangerIsRefusedByItsHeaders: the gateway does not wait for the request of a stranger.
func TestStrangerIsRefusedByItsHeaders(t *testing.T) {
	t.Parallel()
	n := newCluster(t, 1)[0]
	conn, err := grpc.NewClient("passthrough:///"+n.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	for _, given := range [][]string{nil, {"", peerSecret[:len(peerSecret)-1]}, {peerSecret + "x"}, {peerSecret, peerSecret}} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, one := range given {
			ctx = grpcmetadata.AppendToOutgoingContext(ctx, "webhook-gateway-peer-secret", one)
		}
		call, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, webhookgatewayv1.SubscriptionService_GetSubscription_FullMethodName)
		if err != nil {
			t.Fatal(err)
		}
		err = call.RecvMsg(&webhookgatewayv1.GetSubscriptionResponse{})
		checkError(t, err, "Unauthenticated CREDENTIALS_INVALID")
	}
}

// TestForgedCallerIsIgnored: what a client of the public listener says of who it is by the
// headers of gateways is nothing.
func TestForgedCallerIsIgnored(t *testing.T) {
	t.Parallel()
	nodes := newCluster(t, 2)
	nodes[0].create(t, "team", nil)
	forged, err := proto.Marshal((&access.Caller{Name: "all", Grants: []*access.Grant{{
		Filters: []*webhookgatewayv1.EventFilter{{}}, Subscriptions: []access.SubscriptionGrant{{Manage: true}}, Operator: true,
	}}}).Carry())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		ctx := grpcmetadata.AppendToOutgoingContext(streamtest.As(t.Context(), &access.Caller{Name: "nobody"}),
			"webhook-gateway-peer-secret", peerSecret, "webhook-gateway-caller-bin", string(forged))
		_, err := n.DeleteSubscription(ctx, &webhookgatewayv1.DeleteSubscriptionRequest{Name: "team"})
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("a forged caller deletes: %v", err)
		}
	}
}

// TestSecretIsChanged: the secret of the gateways is changed at one after the other, and no
// call is refused meanwhile; afterwards the old one is good for nothing. A gateway with a wrong
// one is told so, at once when it is mended it is answered.
func TestSecretIsChanged(t *testing.T) {
	t.Parallel()
	nodes := newCluster(t, 3)
	for i := range 6 {
		nodes[0].create(t, names(6)[i], nil)
	}
	all := func(when string) {
		t.Helper()
		for i, n := range nodes {
			for _, name := range names(6) {
				if _, err := n.GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: name}); err != nil {
					t.Errorf("%s: gateway %d, %s: %v", when, i, name, err)
				}
			}
		}
	}
	owner, others := ownerOf(nodes, "team-00")
	owner.add(t, 1)
	w := others[0].consume(t, &webhookgatewayv1.ConsumeRequest{Subscription: "team-00"})
	older, newer := secret.New(peerSecret), secret.New("another secret of the gateways")
	for i, n := range nodes {
		n.secrets.Store(&cluster.Secrets{Current: newer, Previous: older})
		all(fmt.Sprint("the new one is given to ", i))
	}
	for i, n := range nodes {
		n.secrets.Store(&cluster.Secrets{Current: newer})
		all(fmt.Sprint("the old one is taken from ", i))
	}
	others[0].acknowledge(t, "team-00", ok, w.take(1)...)

	others[1].secrets.Store(&cluster.Secrets{Current: older})
	_, err := others[1].Acknowledge(t.Context(), &webhookgatewayv1.AcknowledgeRequest{Subscription: "team-00", AckTokens: []string{"token"}})
	if checkError(t, err, "Unavailable SUBSCRIPTION_MOVING"); err != nil && (!strings.Contains(err.Error(), "cluster.secret") || strings.Contains(err.Error(), "may have done")) {
		t.Errorf("the error says %v", err)
	}
	others[1].secrets.Store(&cluster.Secrets{Current: newer})
	all("it is mended")
}

// TestCallForAnotherGateway: a gateway does not answer for the one that a call is for, and the
// caller is told why it is not answered.
func TestCallForAnotherGateway(t *testing.T) {
	t.Parallel()
	memory := commitlogtest.NewMemory()
	a := join(t, memory)
	a.await(1)
	wrong := joinAs(t, memory, a.address)
	for _, n := range []*node{a, wrong} {
		n.await(2)
	}
	settleOwners(t, a, wrong)
	beat(t, a, wrong)
	name := ""
	for i := 0; name == ""; i++ {
		if one := fmt.Sprint("team-", i); wrong.cluster.Owns(one) {
			name = one
		}
	}
	wrong.create(t, name, nil)
	_, err := a.GetSubscription(t.Context(), &webhookgatewayv1.GetSubscriptionRequest{Name: name})
	if checkError(t, err, "Unavailable SUBSCRIPTION_MOVING"); err != nil && !strings.Contains(err.Error(), "wrong cluster.advertise") {
		t.Errorf("the error says %v", err)
	}
}
