package main

import (
	"encoding/json"
	"fmt"
	"strings"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
)

// editWebhooks makes the document of the public port.
func editWebhooks(d document, reasons map[webhookgatewayv1.ErrorReason]reason) error {
	d["info"] = document{
		"title":       "webhook-gateway: webhooks",
		"summary":     "Where providers deliver their webhooks.",
		"description": "The public port. 200 is answered when the event is durable.",
		"version":     internalVersion,
		"license":     document{"name": "Apache-2.0", "identifier": "Apache-2.0"},
	}
	d["servers"] = []any{document{"url": "http://{gateway}", "description": "The public port.", "variables": document{"gateway": document{"default": "127.0.0.1:8080"}}}}
	d["security"] = []any{}
	operations, err := operations(d)
	if err != nil {
		return err
	}
	var public []webhookgatewayv1.ErrorReason
	for id, r := range reasons {
		if r.public {
			public = append(public, id)
		}
	}
	sent := list(reasons, public...)
	ids := map[string]string{
		"WebhookService_ReceiveWebhook":   "receiveWebhook",
		"WebhookService_ReceiveWebhook_1": "receiveWebhookOfClient",
	}
	for _, op := range operations {
		old, _ := op.document["operationId"].(string)
		id, ok := ids[old]
		if !ok {
			return fmt.Errorf("nothing is said of operation %s", old)
		}
		op.document["operationId"] = id
		op.setParameters()
		if err := op.setBody(); err != nil {
			return err
		}
		if err := op.addErrors(sent); err != nil {
			return err
		}
	}
	return addErrorSchema(d, sent)
}

// setParameters replaces the parameters by what the edge looks at.
func (o operation) setParameters() {
	var names []any
	for _, sender := range all.Senders() {
		names = append(names, sender.Name())
	}
	text := document{"type": "string"}
	header := func(name, description string) document {
		return document{"name": name, "in": "header", "description": description, "schema": text}
	}
	parameters := []any{document{
		"name": "provider", "in": "path", "required": true, "description": "Who delivers.",
		"schema": document{"type": "string", "enum": names},
	}}
	if strings.HasSuffix(o.path, "{client_id}") {
		parameters = append(parameters, document{
			"name": "client_id", "in": "path", "required": true, "schema": text,
			"description": "The client that the event belongs to. Finicity names none, so its webhook URL has it.",
		})
	}
	o.document["parameters"] = append(parameters,
		header("X-Finicity-Signature", "Finicity: HMAC-SHA256 of the body, byte for byte, with the Partner Secret, in hexadecimal digits."),
		header("X-Client-Id", "Vezgo: the client that the event belongs to. It must agree with the path, if that names one."),
		header("traceparent", "The W3C trace context of the delivery, kept with the event."),
	)
}

// setBody says what a body is, with one of each type of event.
func (o operation) setBody() error {
	examples := document{}
	for _, sender := range all.Senders() {
		for _, sample := range sender.Samples() {
			var value any
			if err := json.Unmarshal(sample.Body, &value); err != nil {
				return fmt.Errorf("read the sample of %s: %w", sample.TypeName, err)
			}
			examples[sender.Name()+"."+sample.TypeName] = document{"value": value}
		}
	}
	o.document["requestBody"] = document{
		"required": true,
		"description": "What the provider sends: one JSON object. It is verified, and kept, byte for byte. What the gateway does not know " +
			"in it is kept too.",
		"content": document{contentJSON: document{"schema": document{"type": "object"}, "examples": examples}},
	}
	return nil
}
