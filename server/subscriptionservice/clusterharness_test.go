package subscriptionservice_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	clusterv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/cluster/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/cluster"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
	"github.com/webhook-gateway/webhook-gateway/server/stream"
	"github.com/webhook-gateway/webhook-gateway/server/stream/streamtest"
	"github.com/webhook-gateway/webhook-gateway/server/subscription"
	"github.com/webhook-gateway/webhook-gateway/server/subscriptionservice"
)

// peerSecret is that of the cluster of a test.
const peerSecret = "the secret of the gateways"

// node is one of several gateways that share a log.
type node struct {
	*gateway

	t        *testing.T
	manager  *subscription.Manager
	cluster  *cluster.Cluster
	beats    chan chan<- error
	peers    *grpc.Server
	address  string
	registry *prometheus.Registry
	left     bool
	secrets  atomic.Pointer[cluster.Secrets]
	cut      atomic.Bool  // its commits do not reach the commit log
	blind    atomic.Bool  // it sees no commits of others
	refused  atomic.Int32 // so many did not
	breaks   atomic.Int32 // so many calls of other gateways break off before they are made
	loses    atomic.Int32 // so many answers to other gateways are lost
	hangs    atomic.Bool  // calls of other gateways are not answered
	router   *subscriptionservice.Router
}

// Before and After are the faults of its commit log.
func (n *node) Before([]byte) error {
	if n.cut.Load() {
		n.refused.Add(1)
		return errCut
	}
	return nil
}

func (n *node) After(_ []byte, answer error) error { return answer }

var errCut = errors.New("cut off")

// blindable is the commit log of a node.
type blindable struct {
	commitlog.Log
	node *node
}

func (b blindable) Read(ctx context.Context, after commitlog.Sequence) iter.Seq2[commitlog.Commit, error] {
	if b.node.blind.Load() {
		return func(func(commitlog.Commit, error) bool) {}
	}
	return b.Log.Read(ctx, after)
}

// newCluster returns some gateways that know each other.
func newCluster(t *testing.T, n int) []*node {
	t.Helper()
	memory := commitlogtest.NewMemory()
	var nodes []*node
	for range n {
		nodes = append(nodes, join(t, memory))
	}
	for _, one := range nodes {
		one.await(n)
	}
	settleOwners(t, nodes...)
	beat(t, nodes...)
	return nodes
}

// join adds a gateway to those of a log.
func join(t *testing.T, memory *commitlogtest.Memory) *node {
	t.Helper()
	return joinAs(t, memory, "")
}

// joinAs adds a gateway that gives the others an address, if it is not its own.
func joinAs(t *testing.T, memory *commitlogtest.Memory, advertised string) *node {
	t.Helper()
	n := &node{t: t, beats: make(chan chan<- error)}
	n.secrets.Store(&cluster.Secrets{Current: secret.New(peerSecret)})
	commits := commitlog.Log(blindable{memory.Open(n), n})
	config := pebblelog.DefaultConfig()
	config.Path = t.TempDir()
	logger, registry := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	if testing.Verbose() {
		logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	log, err := pebblelog.Open(config, logger, pebblelog.WithCommits(t.Context(), commits))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := cmp.Or(advertised, listener.Addr().String())
	logger = logger.With("at", address)
	n.address, n.registry = address, registry
	n.cluster, err = cluster.New(cluster.Params{
		States: log, Address: address, Dial: cluster.Dial{Secrets: func() cluster.Secrets { return *n.secrets.Load() }},
		Logger: logger, Registerer: registry, Beats: n.beats,
	})
	if err != nil {
		t.Fatal(err)
	}
	n.manager, err = subscription.New(t.Context(), subscription.Params{
		Log: log, States: log, Logger: logger, Registerer: registry,
		Sharing: &subscription.Sharing{Owns: n.cluster.Owns, Certain: n.cluster.Certain, Sync: n.cluster.Sync, Address: address},
	})
	if err != nil {
		t.Fatal(err)
	}
	streams, err := stream.New(stream.Config{MaxStreams: maxStreams, DefaultHeartbeat: time.Minute}, time.Now, registry)
	if err != nil {
		t.Fatal(err)
	}
	service := subscriptionservice.New(log, n.manager, streams, logger)
	router, err := subscriptionservice.NewRouter(service, n.cluster, registry)
	if err != nil {
		t.Fatal(err)
	}
	n.router = router
	guard := n.cluster.Guard()
	n.peers = grpc.NewServer(grpc.ForceServerCodecV2(stream.Codec{}), grpc.WaitForHandlers(true), grpc.InTapHandle(guard.Tap),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(guard.UnaryInterceptor(), n.breakUnary), grpc.ChainStreamInterceptor(guard.StreamInterceptor(), n.breakStream))
	webhookgatewayv1.RegisterSubscriptionServiceServer(n.peers, service)
	clusterv1.RegisterPeerServiceServer(n.peers, subscriptionservice.NewPeer(service))
	served := make(chan error, 1)
	go func() { served <- n.peers.Serve(listener) }()
	watched := watch(n)
	t.Cleanup(func() {
		n.leave()
		n.peers.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		<-watched
		_ = log.Close()
		_ = commits.Close()
	})
	conn := streamtest.Serve(t, func(server grpc.ServiceRegistrar) {
		webhookgatewayv1.RegisterSubscriptionServiceServer(server, router)
	})
	n.gateway = &gateway{SubscriptionServiceClient: webhookgatewayv1.NewSubscriptionServiceClient(conn), log: log, streams: streams, metrics: registry}
	return n
}

func (n *node) breakOff() error {
	if n.breaks.Add(-1) >= 0 {
		return status.Error(codes.Unavailable, "the connection broke")
	}
	return nil
}

func (n *node) breakUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := n.breakOff(); err != nil {
		return nil, err
	}
	if n.hangs.Load() {
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	resp, err := handler(ctx, req)
	if n.loses.Add(-1) >= 0 {
		return nil, status.Error(codes.Unavailable, "the connection broke")
	}
	return resp, err
}

func (n *node) breakStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := n.breakOff(); err != nil {
		return err
	}
	return handler(srv, stream)
}

// watch has the manager know when owners may have changed, as the server does.
func watch(n *node) <-chan struct{} {
	ended := make(chan struct{})
	ctx := n.t.Context()
	go func() {
		defer close(ended)
		for {
			view := n.cluster.View()
			n.manager.Reconcile()
			select {
			case <-view.Changed():
			case <-ctx.Done():
				return
			}
		}
	}()
	return ended
}

// leave drains a gateway, in the order of the server.
func (n *node) leave() {
	n.t.Helper()
	if n.left {
		return
	}
	n.left = true
	n.cut.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.streams.Drain(ctx); err != nil {
		n.t.Error(err)
	}
	if err := n.manager.Close(ctx); err != nil {
		n.t.Log(err) // a gateway that the others took for dead has lost what it had
	}
	if err := n.cluster.Leave(ctx); err != nil {
		n.t.Log(err)
	}
}

// beat has gateways beat once, each after the one before.
func beat(t *testing.T, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		if err := n.cluster.Sync(t.Context()); err != nil { // the beat before has ended
			t.Fatal(err)
		}
		answer := make(chan error, 1)
		n.beats <- answer
		if err := <-answer; err != nil {
			t.Fatal(err)
		}
	}
}

// settleOwners waits until some gateways, which are all, agree on who owns what.
func settleOwners(t *testing.T, nodes ...*node) {
	t.Helper()
	timeout := time.After(time.Minute)
	for i := 0; i < 100; {
		owners := 0
		for _, n := range nodes {
			if n.cluster.Certain(fmt.Sprint("anything ", i)) {
				owners++
			}
		}
		if owners == 1 {
			i++
			continue
		}
		select {
		case <-time.After(time.Millisecond):
		case <-timeout:
			t.Fatalf("%d gateways own the same", owners)
		}
	}
}

// await waits until a gateway knows of so many.
func (n *node) await(members int) {
	n.t.Helper()
	for {
		view := n.cluster.View()
		if len(view.Members) == members {
			return
		}
		select {
		case <-view.Changed():
		case <-time.After(time.Minute):
			n.t.Fatalf("%s knows of %d gateways, not of %d", n.address, len(n.cluster.View().Members), members)
		}
	}
}

// die has a gateway fall silent, and the others find out. It is cut off, and does not
// know.
func (n *node) die(others ...*node) {
	n.t.Helper()
	n.cut.Store(true)
	n.peers.Stop()
	for range cluster.Patience + 1 {
		beat(n.t, others...)
	}
	for _, other := range others {
		other.await(len(others))
	}
}

// ownerOf returns the gateway that owns a subscription, and the others.
func ownerOf(nodes []*node, name string) (owner *node, others []*node) {
	for _, n := range nodes {
		if n.cluster.Owns(name) {
			owner = n
		} else {
			others = append(others, n)
		}
	}
	return owner, others
}

func names(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("team-%02d", i)
	}
	return list
}
