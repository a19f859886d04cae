package webhook

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/connlimit"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// admission decides, before a byte of the body is read, whether a delivery may be
// handled: by its provider, its client, what its head shows of its authenticity, its
// size, and the memory that is left.
type admission struct {
	endpoints map[string]*endpoint
	budget    *budget
	maxBody   int64
	// writeTimeout is that of the server once it starts with this configuration.
	writeTimeout time.Duration
	refuser      *refuser
	logger       *slog.Logger
}

// middleware is what the mux calls when it has found the route.
func (a *admission) middleware(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, path map[string]string) {
		ctx := r.Context()
		d := deliveryFrom(ctx)
		defer d.share.release()
		defer func() {
			if value := recover(); value != nil {
				a.refuser.handleError(ctx, nil, nil, w, r, a.panicked(ctx, d, value))
			}
		}()
		d.share.stop = func() {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // a connection that has ended is one that ends
		}
		if err := a.admit(d, path["provider"], path["client_id"]); err != nil {
			if d.contentLength != 0 {
				endAfterAnswer(ctx, w)
			}
			a.refuser.handleError(ctx, nil, nil, w, r, err)
			return
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(a.writeTimeout)) // as above
		connlimit.Reading(ctx)
		next(w, r, path)
	}
}

func (a *admission) admit(d *delivery, providerName, clientID string) error {
	d.clientID = clientID
	ep, ok := a.endpoints[providerName]
	if !ok {
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_PROVIDER_UNKNOWN,
			"there is no such provider, or it is not enabled: check the URL, and the configuration of the gateway")
	}
	d.provider = ep
	clientID, err := ep.Admit(d.request(clientID))
	if err != nil {
		return d.refused(err)
	}
	d.clientID = clientID
	if err := checkContent(d.header); err != nil {
		return err
	}
	if d.contentLength > a.maxBody {
		return tooLarge(a.maxBody)
	}
	d.share.budget, d.share.client, d.share.waiting = a.budget, clientKey{provider: ep.ID()}, true
	if !ep.AnyClient() {
		d.share.client.clientID = clientID
	}
	if d.sourceKnown {
		d.share.source = sourceNetwork(d.source)
	}
	return d.share.take(firstBodyBytes)
}

// request returns what a provider looks at, but for the body.
func (d *delivery) request(clientID string) *provider.Delivery {
	request := &provider.Delivery{ClientID: clientID, Header: d.header, Source: d.source}
	if d.rawQuery != "" {
		request.Query, _ = url.ParseQuery(d.rawQuery) // the parts that are well-formed
	}
	return request
}

// panicked logs a panic, and returns the status that it is answered with.
func (a *admission) panicked(ctx context.Context, d *delivery, value any) error {
	err := fault(d, errors.New("a panic, see the line before"))
	a.logger.LogAttrs(ctx, slog.LevelError, "handling a delivery panicked",
		append(d.ids(), slog.String("fault", d.fault), slog.Any("panic", value), slog.String("stack", string(debug.Stack())))...)
	return err
}

// fault is the answer to a delivery that was not stored for a fault of the gateway
// itself. It names an id that the log has, too.
func fault(d *delivery, cause error) error {
	d.fault, d.cause = rand.Text()[:10], cause
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_INTERNAL,
		fmt.Sprintf("a fault in the gateway, %s in its log: try again later", d.fault), rpcerr.WithRetryDelay(retryDelay))
}
