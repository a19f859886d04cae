package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// A remote is the gateway that --addr names.
type remote struct{ addr string }

func (r *remote) flag(c *cobra.Command) {
	c.PersistentFlags().StringVar(&r.addr, "addr", "localhost:9090", "the gRPC `address` of the gateway")
}

// call makes a call on the subscriptions of the gateway.
func (r *remote) call(ctx context.Context, call func(context.Context, webhookgatewayv1.SubscriptionServiceClient) error) error {
	conn, err := dial(r.addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing is left to lose
	if err := call(ctx, webhookgatewayv1.NewSubscriptionServiceClient(conn)); err != nil {
		return explain(r.addr, err)
	}
	return nil
}

// dial connects to the gRPC listener of a gateway.
func dial(addr string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		// A single event is as large as a delivery may be, and more.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)),
	)
	if err != nil {
		return nil, usageError{fmt.Errorf("--addr %s: %w", addr, err)}
	}
	return conn, nil
}

// explain says what an error of a call on the gateway at an address means to the
// user. Any other error it returns as it is.
func explain(addr string, err error) error {
	s, ok := grpcStatus(err)
	if !ok {
		return err
	}
	problem := fmt.Errorf("%s: %s", addr, describe(s))
	reason := rpcerr.Reason(s.Err())
	switch {
	case s.Code() == codes.Unavailable && reason == webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED:
		return fmt.Errorf("%w: is the gateway running? `webhook-gateway serve` starts one, --addr names another", problem)
	case s.Code() == codes.InvalidArgument:
		return usageError{problem}
	}
	return problem
}

// grpcStatus returns the status that a call ended with.
func grpcStatus(err error) (*status.Status, bool) {
	var s interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &s) {
		return nil, false
	}
	return s.GRPCStatus(), true
}

// describe returns the message of a status and its reason, for people. What gRPC
// itself says of a broken connection is a chain of Go errors: the last is what
// happened.
func describe(s *status.Status) string {
	message := clean(s.Message())
	if reason := rpcerr.Reason(s.Err()); reason != webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return fmt.Sprintf("%s (%s)", message, rpcerr.Name(reason))
	}
	if s.Code() != codes.Unavailable {
		return fmt.Sprintf("%s (%s)", message, s.Code())
	}
	if i := strings.LastIndex(message, ": "); i >= 0 {
		message = message[i+2:]
	}
	message = strings.Trim(message, `"`)
	if message == "EOF" {
		message = "it was closed"
	}
	return "no connection: " + message
}
