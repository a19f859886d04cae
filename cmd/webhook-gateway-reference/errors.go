package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/protobuf/reflect/protoreflect"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// reasons says of each reason with which status it comes, and with what else.
func (p *page) reasons(enum protoreflect.EnumDescriptor) {
	p.printf("%s\nWhat to do about each status is in [writing a client](../writing-a-client.md#errors).\n\n", p.commentOn(enum, ""))
	for i := range enum.Values().Len() {
		value := enum.Values().Get(i)
		if value.Number() == 0 {
			continue // is no reason
		}
		status, text, err := splitReason(p.commentOn(value, ""), webhookgatewayv1.ErrorReason(value.Number()))
		if err != nil {
			p.fail(fmt.Errorf("the comment on %s %w", value.Name(), err))
			continue
		}
		p.printf("## %s\n\n%s. %s%s\n", rpcerr.Name(webhookgatewayv1.ErrorReason(value.Number())), status, strings.ToUpper(text[:1]), text[1:])
	}
}

// splitReason returns the status of a reason, as the page has it, and what its comment says
// after the status that it begins with: "HTTP 413" for deliveries only, "OUT_OF_RANGE" for
// calls, or "UNAVAILABLE, HTTP 503" for both.
func splitReason(comment string, reason webhookgatewayv1.ErrorReason) (status, text string, err error) {
	status, text, _ = strings.Cut(comment, ": ")
	if text == "" {
		return "", "", errors.New("does not begin with a status and a colon")
	}
	retried := rpcerr.RetryDelay(rpcerr.Error(reason, "")) > 0
	if strings.HasPrefix(status, "HTTP ") {
		if retried {
			status += ", with `Retry-After`"
		}
		return status, text, nil
	}
	name := code.Code(rpcerr.Code(reason)).String() //nolint:gosec // there are 17
	status, more, _ := strings.Cut(status, ",")
	if status != name {
		return "", "", fmt.Errorf("begins with %q, but its status is %s", status, name)
	}
	status = fmt.Sprintf("`%s`, HTTP %d", name, runtime.HTTPStatusFromCode(rpcerr.Code(reason)))
	if retried {
		status += ", with a `RetryInfo` or `Retry-After`"
	}
	if delivery := strings.TrimPrefix(strings.TrimSpace(more), "HTTP "); delivery != "" && delivery != "only over HTTP" {
		status += "; a delivery is answered " + delivery
	}
	return status, text, nil
}
