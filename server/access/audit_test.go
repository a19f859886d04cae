package access

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// TestAudit: who did what is in the log, and no token is.
func TestAudit(t *testing.T) {
	config, token := reading()
	c, log := newControl(t, config)
	listener := listenTCP(t)
	serveGRPC(t, c, listener, insecure.NewCredentials())
	plain := client(t, listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	wrong, _ := NewToken()
	for _, header := range []string{"", "Bearer " + wrong, "Bearer a.b.c", "Basic " + token, "Bearer", token} {
		ctx := t.Context()
		if header != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", header)
		}
		if _, err := whoAmI(ctx, plain); err == nil {
			t.Errorf("%q is let in", header)
		}
	}
	twice := withToken(withToken(t.Context(), token), token)
	if _, err := whoAmI(twice, plain); err == nil {
		t.Error("two headers are let in")
	}
	ctx, cancel := context.WithCancel(withToken(t.Context(), token))
	stream, err := plain.Subscribe(ctx, &webhookgatewayv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	for err == nil {
		_, err = stream.Recv()
	}
	for deadline := time.Now().Add(time.Minute); !strings.Contains(log.String(), "a stream ended"); {
		if time.Now().After(deadline) {
			t.Fatal("the end of the stream is not noted")
		}
		if _, err := whoAmI(withToken(t.Context(), token), plain); err != nil {
			t.Fatal(status.Convert(err).Message())
		}
	}
	text := log.String()
	for _, want := range []string{
		`level=WARN msg="audit: a call was refused" method=/webhookgateway.v1.EventService/GetLogInfo remote=127.0.0.1:`,
		"outcome=CREDENTIALS_MISSING", "outcome=CREDENTIALS_INVALID",
		`msg="audit: a stream was opened" method=/webhookgateway.v1.EventService/Subscribe remote=127.0.0.1:`,
		`caller=billing authenticated_by=token view=EVENT_VIEW_UNSPECIFIED filters="{\"clientIds\":[\"acme\"]}"`,
		`msg="audit: a stream ended"`, "outcome=C",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the audit lacks %s:\n%s", want, text)
		}
	}
	if strings.Contains(text, token[5:20]) || strings.Contains(text, wrong[5:20]) {
		t.Errorf("a token is in the audit:\n%s", text)
	}
}

// A stranger who is refused again and again does not fill the log, and is counted.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	config, _ := reading()
	c, log := newControl(t, config)
	listener := listenTCP(t)
	serveGRPC(t, c, listener, insecure.NewCredentials())
	plain := client(t, listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	const calls = 500
	for range calls {
		if _, err := whoAmI(t.Context(), plain); err == nil {
			t.Fatal("a stranger is let in")
		}
	}
	if lines := strings.Count(log.String(), "a call was refused"); lines < strangersBurst || lines >= calls/2 {
		t.Errorf("%d calls gave %d lines", calls, lines)
	}
	if left := c.audit.suppressed.Load(); left == 0 {
		t.Error("no line was left out")
	}
}
