// Package rpcerr turns what went wrong into a gRPC status. It is the one place
// where a reason gets its status code.
package rpcerr

import (
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// Domain is the domain of every ErrorInfo of the gateway.
const Domain = "webhook-gateway"

const namePrefix = "ERROR_REASON_"

// Option adds a detail to an error.
type Option func(*details)

type details struct {
	info  *errdetails.ErrorInfo
	retry *errdetails.RetryInfo
}

// WithMetadata adds a key and its value to the ErrorInfo.
func WithMetadata(key, value string) Option {
	return func(d *details) {
		if d.info.Metadata == nil {
			d.info.Metadata = make(map[string]string)
		}
		d.info.Metadata[key] = value
	}
}

// WithRetryDelay sets how long the caller should wait before it tries again.
func WithRetryDelay(delay time.Duration) Option {
	return func(d *details) { d.retry = &errdetails.RetryInfo{RetryDelay: durationpb.New(delay)} }
}

// DefaultRetryDelay is the delay of a reason that asks to try again, if no other
// is given.
const DefaultRetryDelay = time.Second

// Error returns a gRPC status error with the code of the reason and an
// ErrorInfo, and with a RetryInfo if the reason asks to try again. The message
// says to the caller what was wrong and what to do.
func Error(reason webhookgatewayv1.ErrorReason, message string, options ...Option) error {
	code := Code(reason)
	d := details{info: &errdetails.ErrorInfo{Reason: Name(reason), Domain: Domain}}
	if code == codes.Unavailable || code == codes.ResourceExhausted {
		WithRetryDelay(DefaultRetryDelay)(&d)
	}
	for _, option := range options {
		option(&d)
	}
	messages := []protoadapt.MessageV1{d.info}
	if d.retry != nil {
		messages = append(messages, d.retry)
	}
	s := status.New(code, message)
	detailed, err := s.WithDetails(messages...)
	if err != nil { // metadata that is not UTF-8: better no details than no status
		return s.Err()
	}
	return detailed.Err()
}

// Reason returns the reason of an error made by Error, and
// ERROR_REASON_UNSPECIFIED for any other.
func Reason(err error) webhookgatewayv1.ErrorReason {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == Domain {
			return webhookgatewayv1.ErrorReason(webhookgatewayv1.ErrorReason_value[namePrefix+info.GetReason()])
		}
	}
	return webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED
}

// Metadata returns that of an error made by Error.
func Metadata(err error) map[string]string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == Domain {
			return info.GetMetadata()
		}
	}
	return nil
}

// RetryDelay returns how long an error asks to wait before trying again, or 0 if
// it does not ask to.
func RetryDelay(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			return retry.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// Name returns the stable text of a reason, such as `SIGNATURE_MISMATCH`.
func Name(reason webhookgatewayv1.ErrorReason) string {
	return strings.TrimPrefix(reason.String(), namePrefix)
}

// Code returns the status code of a reason.
func Code(reason webhookgatewayv1.ErrorReason) codes.Code {
	switch reason {
	case webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_NOT_JSON_OBJECT,
		webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_INCOMPLETE,
		webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_TOO_LARGE,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CONTENT_TYPE_UNSUPPORTED,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CONTENT_ENCODING_UNSUPPORTED,
		webhookgatewayv1.ErrorReason_ERROR_REASON_INVALID_FIELD,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_MALFORMED,
		webhookgatewayv1.ErrorReason_ERROR_REASON_PAGE_TOKEN_INVALID:
		return codes.InvalidArgument
	case webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_TIMEOUT:
		return codes.DeadlineExceeded
	case webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISSING,
		webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISMATCH,
		webhookgatewayv1.ErrorReason_ERROR_REASON_SHARED_SECRET_MISMATCH,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_MISSING,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_INVALID,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_EXPIRED,
		webhookgatewayv1.ErrorReason_ERROR_REASON_ACCESS_CHANGED:
		return codes.Unauthenticated
	case webhookgatewayv1.ErrorReason_ERROR_REASON_SOURCE_NOT_ALLOWED,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_ID_MISSING,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_ID_MISMATCH,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_NOT_ALLOWED,
		webhookgatewayv1.ErrorReason_ERROR_REASON_NOT_GRANTED,
		webhookgatewayv1.ErrorReason_ERROR_REASON_HOST_NOT_ALLOWED,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CROSS_ORIGIN:
		return codes.PermissionDenied
	case webhookgatewayv1.ErrorReason_ERROR_REASON_PROVIDER_UNKNOWN,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_UNKNOWN,
		webhookgatewayv1.ErrorReason_ERROR_REASON_PATH_UNKNOWN,
		webhookgatewayv1.ErrorReason_ERROR_REASON_EVENT_NOT_FOUND,
		webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_NOT_FOUND:
		return codes.NotFound
	case webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_EXISTS:
		return codes.AlreadyExists
	case webhookgatewayv1.ErrorReason_ERROR_REASON_METHOD_NOT_ALLOWED:
		return codes.Unimplemented
	case webhookgatewayv1.ErrorReason_ERROR_REASON_RATE_LIMITED,
		webhookgatewayv1.ErrorReason_ERROR_REASON_UNVERIFIED_QUOTA,
		webhookgatewayv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS,
		webhookgatewayv1.ErrorReason_ERROR_REASON_TOO_MANY_WAITING:
		return codes.ResourceExhausted
	case webhookgatewayv1.ErrorReason_ERROR_REASON_LOG_UNAVAILABLE,
		webhookgatewayv1.ErrorReason_ERROR_REASON_OVERLOADED,
		webhookgatewayv1.ErrorReason_ERROR_REASON_STARTING,
		webhookgatewayv1.ErrorReason_ERROR_REASON_DRAINING,
		webhookgatewayv1.ErrorReason_ERROR_REASON_ISSUER_UNAVAILABLE,
		webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_MOVING:
		return codes.Unavailable
	case webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_OF_ANOTHER_LOG,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_AHEAD,
		webhookgatewayv1.ErrorReason_ERROR_REASON_HISTORY_LOST,
		webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_UNUSABLE,
		webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_NOT_STRICT:
		return codes.FailedPrecondition
	case webhookgatewayv1.ErrorReason_ERROR_REASON_INTERNAL:
		return codes.Internal
	case webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_EXPIRED:
		return codes.OutOfRange
	case webhookgatewayv1.ErrorReason_ERROR_REASON_EVENT_DAMAGED:
		return codes.DataLoss
	case webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED:
	}
	return codes.Unknown // only for a reason that does not exist
}
