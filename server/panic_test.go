package server

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestPanicIsInternal(t *testing.T) {
	var logged bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&logged, nil))
	_, err := recoverUnary(logger)(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/m"},
		func(context.Context, any) (any, error) { panic("boom") })
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "boom") {
		t.Errorf("unary: %v", err)
	}
	err = recoverStream(logger)(nil, fakeStream{ctx: t.Context()}, &grpc.StreamServerInfo{FullMethod: "/m"},
		func(any, grpc.ServerStream) error { panic("boom") })
	if status.Code(err) != codes.Internal {
		t.Errorf("stream: %v", err)
	}
	if n := strings.Count(logged.String(), "panic=boom"); n != 2 {
		t.Errorf("%d panics were logged, want 2:\n%s", n, &logged)
	}
}

type fakeStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // what a stream has
}

func (s fakeStream) Context() context.Context { return s.ctx }
