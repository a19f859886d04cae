package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
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
	switch {
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
