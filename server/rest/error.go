package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// errorBody is the body of every answer that is not OK, and the last line of a
// stream that fails.
type errorBody struct {
	Error errorDetail `json:"error"`
}

type errorDetail struct {
	// Reason is the name of an ErrorReason without its prefix.
	Reason string `json:"reason"`
	// Message is for people.
	Message string `json:"message"`
	// Metadata is that of the ErrorInfo.
	Metadata map[string]string `json:"metadata,omitempty"`
}

var (
	errTooLarge = rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_TOO_LARGE,
		"the request is too large: give fewer filters, or fewer values in them")
	errUnreadable = rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_INVALID_FIELD,
		"the request cannot be read: /openapi.json has what is expected")
	errUnavailable = rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_LOG_UNAVAILABLE,
		"the gateway cannot answer at present: its log may say more")
)

// named returns an error that has a reason of ours. One without was made on the way
// to the service: by the gateway mux for a request that it could not read, or by
// gRPC for a call that did not arrive. Its text is of the libraries.
func named(err error) error {
	if rpcerr.Reason(err) != webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return err
	}
	switch status.Code(err) {
	case codes.InvalidArgument:
		return errUnreadable
	case codes.ResourceExhausted:
		return errTooLarge
	default:
		return errUnavailable
	}
}

func bodyOf(err error) errorBody {
	s := status.Convert(named(err))
	detail := errorDetail{Message: s.Message()}
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == rpcerr.Domain {
			detail.Reason, detail.Metadata = info.GetReason(), info.GetMetadata()
		}
	}
	return errorBody{Error: detail}
}

// httpStatus returns the status of the answer to a call that failed.
func httpStatus(err error) int {
	if rpcerr.Reason(named(err)) == webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_TOO_LARGE {
		return http.StatusRequestEntityTooLarge
	}
	return runtime.HTTPStatusFromCode(status.Code(err))
}

func marshalStreamError(m proto.Message) ([]byte, error) {
	s, _ := m.(*spb.Status)
	return json.Marshal(bodyOf(status.ErrorProto(s)))
}

func handleError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
	writeError(w, httpStatus(err), err)
}

func handleRoutingError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, code int) {
	if code == http.StatusMethodNotAllowed {
		writeError(w, code, rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_METHOD_NOT_ALLOWED,
			"this path has no such method: see /openapi.json"))
		return
	}
	writeError(w, http.StatusNotFound, rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_PATH_UNKNOWN,
		"there is nothing at this path: see /openapi.json"))
}

// headerKey is the key of the response header in the context of a request, for
// handleStreamError, which is given no other way to it.
type headerKey struct{}

// handleStreamError sets the header of a stream that ends before its first frame.
// Later it is too late for a header, and setting one does nothing.
func handleStreamError(ctx context.Context, err error) *status.Status {
	if header, ok := ctx.Value(headerKey{}).(http.Header); ok {
		setRetryAfter(header, err)
	}
	return status.Convert(named(err))
}

func setRetryAfter(header http.Header, err error) {
	if delay := rpcerr.RetryDelay(err); delay > 0 {
		seconds := (delay + time.Second - 1) / time.Second
		header.Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
}

// Refuse answers a request with the status of an error, as every refusal is answered.
func Refuse(w http.ResponseWriter, err error) { writeError(w, httpStatus(err), err) }

func writeError(w http.ResponseWriter, code int, err error) {
	body, encodeErr := json.Marshal(bodyOf(err))
	if encodeErr != nil {
		body = nil // strings always encode
	}
	w.Header().Set("Content-Type", contentTypeJSON)
	setRetryAfter(w.Header(), err)
	w.WriteHeader(code)
	_, _ = w.Write(body) // the client may be gone
}
