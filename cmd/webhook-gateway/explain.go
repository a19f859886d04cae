package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// isItRunning is what may help when nobody answers at an address.
const isItRunning = "is the gateway running? `webhook-gateway serve` starts one, --addr names another"

// mayBeTLS is what may help when a connection breaks off: a server that refuses a client
// certificate closes the connection, and its alert is lost to a client that still writes.
const mayBeTLS = "if there is one, it speaks TLS (--tls-ca), or does not take the client certificate (--tls-cert)"

// sayWhoCalls is what helps a command that showed no credentials.
const sayWhoCalls = "give --token-file, or --tls-cert"

// explain says what an error of a call on the gateway at an address means to the
// user. Any other error it returns as it is.
func explain(addr string, err error) error {
	s, ok := grpcStatus(err)
	if !ok {
		return err
	}
	problem := fmt.Errorf("%s: %s", addr, describe(s))
	switch {
	case isNoGateway(s):
		return fmt.Errorf("%w: this is no gRPC listener: --addr names that of the gateway, port %s unless it is configured otherwise; %s", problem, defaultGRPCPort, mayBeTLS)
	case isPlainText(s):
		return fmt.Errorf("%w: leave out --tls-ca and --tls-cert ($%s, $%s), or --addr names another", problem, envTLSCA, envTLSCert)
	case isUnanswered(s) && isBrokenOffText(s.Message()):
		return fmt.Errorf("%w: %s; %s", problem, isItRunning, mayBeTLS)
	case isUnanswered(s):
		return fmt.Errorf("%w: %s", problem, isItRunning)
	case rpcerr.Reason(s.Err()) == webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_MISSING:
		return fmt.Errorf("%w: %s", problem, sayWhoCalls)
	case s.Code() == codes.InvalidArgument:
		return usageError{problem}
	case strings.Contains(s.Message(), "EXPIRED_POLICY_EARLIEST"): // in words of the API
		return fmt.Errorf("%w: in tail that is --on-expired earliest", problem)
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

// isUnanswered reports whether no gateway answered.
func isUnanswered(s *status.Status) bool {
	return s.Code() == codes.Unavailable && rpcerr.Reason(s.Err()) == webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED
}

// isNoGateway reports whether something answered that is no gRPC server.
func isNoGateway(s *status.Status) bool {
	return isUnanswered(s) && strings.Contains(s.Message(), "server preface")
}

// isPlainText reports whether what answered does not speak TLS, as it was asked to.
func isPlainText(s *status.Status) bool {
	return isUnanswered(s) && strings.Contains(s.Message(), "does not look like a TLS handshake")
}

// isNoHost reports whether the name of the host does not exist.
func isNoHost(s *status.Status) bool {
	return isUnanswered(s) && (strings.Contains(s.Message(), "no such host") || strings.Contains(s.Message(), "produced zero addresses"))
}

// isBrokenOffText is isBrokenOff for an error that gRPC kept the text of.
func isBrokenOffText(message string) bool {
	for _, end := range []error{syscall.EPIPE, syscall.ECONNRESET, io.EOF, net.ErrClosed} {
		if strings.Contains(message, end.Error()) {
			return true
		}
	}
	return false
}

// cursorsNamed returns the cursors that a message names, such as last_cursor: a program
// finds them in the metadata of the error, and a person nowhere else.
func cursorsNamed(message string, metadata map[string]string) string {
	var named strings.Builder
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		if strings.HasSuffix(key, "_cursor") && strings.Contains(message, key) {
			fmt.Fprintf(&named, ", %s %s", key, clean(metadata[key]))
		}
	}
	return named.String()
}

// describe returns the message of a status and its reason, for people. What gRPC
// itself says of a broken connection is a chain of Go errors: the last is what
// happened.
func describe(s *status.Status) string {
	message := clean(s.Message())
	if reason := rpcerr.Reason(s.Err()); reason != webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return fmt.Sprintf("%s (%s%s)", message, rpcerr.Name(reason), cursorsNamed(message, rpcerr.Metadata(s.Err())))
	}
	if s.Code() != codes.Unavailable {
		return fmt.Sprintf("%s (%s)", message, s.Code())
	}
	if isNoGateway(s) {
		return "what answers does not speak gRPC"
	}
	if isPlainText(s) {
		return "what answers does not speak TLS"
	}
	if isNoHost(s) {
		return "no connection: no such host"
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
