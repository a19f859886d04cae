package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// isBrokenOff reports whether a request may have been received, and its answer was
// lost: the connection ended.
func isBrokenOff(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// plainHTTPError says why a request had no answer, without its URL, which may hold
// a secret.
func plainHTTPError(err error) string {
	var dns *net.DNSError
	var system syscall.Errno
	var request *url.Error
	if alert, ok := alertOf(err); ok { // perhaps before the request was sent
		return alert.Error()
	}
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		return "it speaks http, not https"
	case strings.Contains(err.Error(), "malformed HTTP response"), // the package has no types for them
		strings.Contains(err.Error(), "readLoopPeekFailLocked"): // it spoke first
		return "what is there does not speak HTTP"
	case isBrokenOff(err):
		return "the connection was closed"
	case errors.As(err, &dns):
		return "no such host"
	case errors.As(err, &system):
		return system.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "it took too long"
	case errors.As(err, &request):
		return request.Err.Error()
	}
	return err.Error()
}

// maxRefusalBytes bounds the body of an answer that is read.
const maxRefusalBytes = 64 << 10

// readRefusal returns why a gateway refused a request, and nothing of an answer that is
// not of a gateway.
func readRefusal(body io.Reader) (reason, message string) {
	var refusal struct {
		Error struct {
			Reason  string `json:"reason"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.NewDecoder(io.LimitReader(body, maxRefusalBytes)).Decode(&refusal); err != nil {
		return "", ""
	}
	return refusal.Error.Reason, refusal.Error.Message
}
