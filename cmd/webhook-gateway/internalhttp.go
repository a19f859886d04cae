package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// defaultHTTPAddr is the internal HTTP address of a gateway on this machine.
const defaultHTTPAddr = "localhost:8081"

// askInternal sends a request without a body to the internal HTTP port of a gateway. want
// is the content type of what it answers with 200; anything else is an error. The caller
// closes the body.
func askInternal(ctx context.Context, method, addrText, path, want string, credentials *clientCredentials) (*http.Response, error) {
	addr, err := parseAddr("--http-addr", addrText, "8081")
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, http.NoBody)
	if err != nil {
		return nil, usageError{fmt.Errorf("--http-addr %s: %w", addr, err)}
	}
	transport := &http.Transport{
		DialContext:       (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		DisableKeepAlives: true,
	}
	if err := credentials.request(request, transport); err != nil {
		return nil, err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		hint := ""
		if isBrokenOff(err) {
			hint = "; " + mayBeTLS
		}
		return nil, fmt.Errorf("%s: no answer: %s: is the gateway running? --http-addr names the internal HTTP port of another%s",
			addr, plainHTTPError(err), hint)
	}
	if response.StatusCode == http.StatusOK && response.Header.Get("Content-Type") == want {
		return response, nil
	}
	defer func() { _ = response.Body.Close() }()                          // it is of no use
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxRefusalBytes)) // as far as it came
	reason, message := readRefusal(bytes.NewReader(body))
	if reason == "" || reason == "PATH_UNKNOWN" {
		return nil, notInternal(addr, response.Status, body)
	}
	problem := fmt.Errorf("%s: %s (%s)", addr, message, reason)
	if reason == rpcerr.Name(webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_MISSING) {
		return nil, fmt.Errorf("%w: %s", problem, sayWhoCalls)
	}
	return nil, problem
}

// notInternal is what to say of an answer that a gateway does not give on its internal HTTP
// port.
func notInternal(addr, status string, body []byte) error {
	if bytes.HasPrefix(body, []byte("Client sent an HTTP request to an HTTPS server")) { // Go's words
		return fmt.Errorf("%s speaks TLS: give --tls-ca, or --tls-ca system for the authorities that this machine trusts", addr)
	}
	return fmt.Errorf("%s answers %s: is that the internal HTTP port of a gateway?", addr, status)
}
