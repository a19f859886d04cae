package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

const (
	defaultAddr     = "localhost:9090"
	defaultGRPCPort = "9090"
)

// A remote is the gateway that --addr names.
type remote struct {
	addr        string
	credentials clientCredentials
}

func (r *remote) flag(c *cobra.Command, environ []string) {
	r.credentials.flags(c, environ)
	c.PersistentFlags().StringVar(&r.addr, "addr", defaultAddr, "the gRPC `address` of the gateway, host:port or host")
}

// call makes a call on the subscriptions of the gateway.
func (r *remote) call(ctx context.Context, call func(context.Context, webhookgatewayv1.SubscriptionServiceClient) error) error {
	return r.on(func(conn grpc.ClientConnInterface) error {
		return call(ctx, webhookgatewayv1.NewSubscriptionServiceClient(conn))
	})
}

// events makes a call on the events of the gateway.
func (r *remote) events(ctx context.Context, call func(context.Context, webhookgatewayv1.EventServiceClient) error) error {
	return r.on(func(conn grpc.ClientConnInterface) error {
		return call(ctx, webhookgatewayv1.NewEventServiceClient(conn))
	})
}

func (r *remote) on(call func(conn grpc.ClientConnInterface) error) error {
	conn, err := r.dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing is left to lose
	if err := call(conn); err != nil {
		return explain(r.addr, err)
	}
	return nil
}

// dial connects to the gRPC listener of the gateway.
func (r *remote) dial() (*grpc.ClientConn, error) {
	addr, err := parseAddr("--addr", r.addr, defaultGRPCPort)
	if err != nil {
		return nil, err
	}
	options, err := r.credentials.dialOptions(addr)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(addr, append(options,
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		// A single event is as large as a delivery may be, and more.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)),
	)...)
	if err != nil {
		return nil, usageError{fmt.Errorf("--addr %s: %w", r.addr, err)}
	}
	return conn, nil
}

// parseAddr returns the address that a flag gives, with a port: gRPC would take 443 for
// one without.
func parseAddr(flag, text, defaultPort string) (string, error) {
	if scheme, rest, ok := strings.Cut(text, "://"); ok {
		rest, _, _ = strings.Cut(rest, "/")
		return "", usageError{fmt.Errorf("%[1]s %[2]s: an address is host:port, without %[3]s://: give %[1]s %[4]s", flag, text, scheme, rest)}
	}
	if net.ParseIP(strings.Trim(text, "[]")) != nil || !strings.Contains(text, ":") && text != "" {
		text = net.JoinHostPort(strings.Trim(text, "[]"), defaultPort)
	}
	host, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || strings.ContainsAny(host, "/ ") {
		return "", usageError{fmt.Errorf("%s %q is no address: give host:port, such as localhost:%s", flag, text, defaultPort)}
	}
	return text, nil
}
