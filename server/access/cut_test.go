package access

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// revokedStream opens a stream, and revokes the credentials that it was opened with.
func revokedStream(t *testing.T) (*Control, *lockedBuffer, grpc.ServerStreamingClient[webhookgatewayv1.SubscribeResponse]) {
	t.Helper()
	config, token := reading()
	c, log := newControl(t, config)
	listener := listenTCP(t)
	serveGRPC(t, c, listener, insecure.NewCredentials())
	stream, err := client(t, listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())).
		Subscribe(withToken(t.Context(), token), &webhookgatewayv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	other, _ := reading()
	replace(t, c, other)
	return c, log, stream
}

// TestStreamsThatDoNotEndAreCut: a stream that does not heed the end of its access sends
// nothing more soon after, and ends with the reason.
func TestStreamsThatDoNotEndAreCut(t *testing.T) {
	c, _, stream := revokedStream(t)
	var err error
	for err == nil {
		_, err = stream.Recv()
	}
	if rpcerr.Reason(err) != webhookgatewayv1.ErrorReason_ERROR_REASON_ACCESS_CHANGED {
		t.Errorf("it ends with %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sessions) > 1 {
		t.Errorf("%d sessions are left", len(c.sessions))
	}
}

// TestStreamsThatAreNotReadEnd: a stream whose client reads nothing is blocked in a send. It
// ends with its access all the same, and what it held is free.
func TestStreamsThatAreNotReadEnd(t *testing.T) {
	c, log, stream := revokedStream(t)
	var err error
	open := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.sessions)
	}
	for end := time.After(time.Minute); open() > 0; {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-end:
			t.Fatal("the stream has not ended")
		}
	}
	for err == nil { // what was on its way, and why it ended
		_, err = stream.Recv()
	}
	if code := status.Code(err); code != codes.Canceled && code != codes.Unauthenticated { // in a send, or between two
		t.Errorf("it ends with %v", err)
	}
	if text := log.String(); !strings.Contains(text, "a stream ended") || !strings.Contains(text, "ACCESS_CHANGED") {
		t.Errorf("the audit: %s", text)
	}
}

// TestRevokedBeforeTheStreamIsOpen: credentials that are taken back between the look at
// them and the beginning of the stream open none.
func TestRevokedBeforeTheStreamIsOpen(t *testing.T) {
	config, token := reading()
	c, _ := newControl(t, config)
	call, err := c.identify(t.Context(), presented{authorization: []string{"Bearer " + token}}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	other, _ := reading()
	replace(t, c, other)
	s, closeIt := c.open(t.Context(), call, func() {})
	defer closeIt()
	if err := s.failed(nil); rpcerr.Reason(err) != webhookgatewayv1.ErrorReason_ERROR_REASON_ACCESS_CHANGED {
		t.Errorf("the stream has ended with %v", err)
	}
}
