package access

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// challenge is the WWW-Authenticate header of an answer 401.
const challenge = `Bearer realm="webhook-gateway"`

// Refuse answers a request with a status.
type Refuse func(w http.ResponseWriter, err error)

// A request is a request whose caller is known.
type request struct {
	*session

	// streams: its answer may last, and ends with the access.
	streams atomic.Bool
}

type requestKey struct{}

// Handler refuses requests without credentials, and puts the callers of the others into
// their contexts. What is behind it does not see a token.
func (c *Control) Handler(next http.Handler, refuse Refuse) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		made, err := c.identify(r.Context(), c.presentedBy(r), r.RemoteAddr, r.UserAgent())
		if err != nil {
			c.refuseHTTP(w, r, nil, err, refuse)
			return
		}
		// Who does not read the answer would go on reading it whenever it likes.
		request := &request{}
		session, closeIt := c.open(r.Context(), made, func() {
			if request.streams.Load() {
				_ = http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0)) // a connection that ended has none
			}
		})
		defer closeIt()
		request.session = session
		r = r.WithContext(context.WithValue(NewContext(r.Context(), made.caller), requestKey{}, request))
		r.Header = r.Header.Clone()
		r.Header.Del("Authorization")
		next.ServeHTTP(w, r)
	})
}

// Operator refuses the requests of callers who are no operators. It stands behind
// Handler. Audited requests are in the audit. The context of a request is done soon after
// its access has ended.
func (c *Control) Operator(next http.Handler, audited bool, refuse Refuse) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		made, ok := r.Context().Value(requestKey{}).(*request)
		if !ok {
			c.refuseHTTP(w, r, nil, errNotOperator(), refuse)
			return
		}
		if err := made.caller.Operate(); err != nil {
			c.refuseHTTP(w, r, made.call, err, refuse)
			return
		}
		if audited {
			c.audit.called(r.Context(), made.call, requestName(r), "", nil)
		}
		made.streams.Store(true)
		next.ServeHTTP(w, r.WithContext(made.cut))
	})
}

// Operates reports whether a request comes from an operator. It stands for requests that
// anybody may make, and is in no audit.
func (c *Control) Operates(r *http.Request) bool {
	made, err := c.identify(r.Context(), c.presentedBy(r), r.RemoteAddr, r.UserAgent())
	return err == nil && made.caller.Operate() == nil
}

// presentedBy returns the credentials of a request.
func (c *Control) presentedBy(r *http.Request) presented {
	return presented{authorization: r.Header.Values("Authorization"), certificate: shown(r.TLS, c.roots.HTTP)}
}

func (c *Control) refuseHTTP(w http.ResponseWriter, r *http.Request, made *call, err error, refuse Refuse) {
	c.audit.refused(r.Context(), made, requestName(r), r.RemoteAddr, "", err)
	if status.Code(err) == codes.Unauthenticated {
		asked := challenge
		if rpcerr.Reason(err) != webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_MISSING {
			asked += `, error="invalid_token"`
		}
		w.Header().Set("WWW-Authenticate", asked)
	}
	refuse(w, err)
}

// requestName is how the audit calls a request: its query may have anything in it.
func requestName(r *http.Request) string { return r.Method + " " + r.URL.Path }
