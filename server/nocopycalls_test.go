package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// TestCallsWithoutCopyAndCommitLog: while a gateway has no copy and its commit log does not answer, every call is answered at once, those that need
// the log with what says that it is starting; it can be reloaded, and ends at once.
func TestCallsWithoutCopyAndCommitLog(t *testing.T) {
	address := nobodyAt(t)
	r := newReloader(t, sharesBy(fmt.Sprint("nats://", address)))
	g := r.g
	check := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for service, info := range g.Server().Services() {
			for _, method := range info.Methods {
				if !strings.HasPrefix(service, "webhookgateway.v1.") {
					continue
				}
				stream, err := g.Conn().NewStream(ctx, &grpc.StreamDesc{ServerStreams: method.IsServerStream}, "/"+service+"/"+method.Name)
				if err == nil {
					err = errors.Join(stream.SendMsg(&emptypb.Empty{}), stream.CloseSend())
				}
				if err == nil {
					err = stream.RecvMsg(&emptypb.Empty{})
				}
				if got := rpcerr.Reason(err); got != webhookgatewayv1.ErrorReason_ERROR_REASON_STARTING {
					t.Errorf("%s is answered %v", method.Name, err)
				}
			}
		}
		for path, want := range map[string]int{"/metrics": http.StatusOK, "/admin/config": http.StatusOK, "/console/": http.StatusOK, "/v1/subscriptions": http.StatusServiceUnavailable} {
			if code, body := get(t, g, path); code != want {
				t.Errorf("%s is answered %d: %s", path, code, body)
			}
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.InternalURL()+"/admin/backup", nil)
		if err != nil {
			t.Fatal(err)
		}
		if code, body := do(t, req); code != http.StatusServiceUnavailable || !strings.Contains(body, "there is no copy of the event log yet") {
			t.Errorf("a backup is answered %d: %s", code, body)
		}
	}
	check()
	r.mustReload(t, func(c *server.Config) { c.Cluster.PreviousSecret = c.Cluster.Secret })
	const soon = 3 * time.Second // what it must not wait for takes five
	took := time.Hour
	for tries := 0; took > soon && tries < 5; tries++ { // a busy machine may take as long, but not each time
		began := time.Now()
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
		took = time.Since(began)
		g.Restart(t)
	}
	if took > soon {
		t.Errorf("it ends after %v", took)
	}
	check()
	startNATS(t, address.Port)
	isReady(t, g, true)
	stream := subscribe(t, g, &webhookgatewayv1.SubscribeRequest{})
	next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetSubscribed)
	g.DeliverBody(t, webhookgatewayv1.Provider_PROVIDER_FINICITY, finicityBody("1"))
	if got := next(t, stream, (*webhookgatewayv1.SubscribeResponse).GetEvents).GetEvents(); len(got) != 1 {
		t.Errorf("a stream gets %v", got)
	}
}
