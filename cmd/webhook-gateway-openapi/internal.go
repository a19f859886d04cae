package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// A call is what the document says of an operation beyond the protos.
type call struct {
	id      string
	reasons []webhookgatewayv1.ErrorReason
	// stream is the schema of a line, if the answer is a stream of them.
	stream string
}

const (
	invalidField    = webhookgatewayv1.ErrorReason_ERROR_REASON_INVALID_FIELD
	contentType     = webhookgatewayv1.ErrorReason_ERROR_REASON_CONTENT_TYPE_UNSUPPORTED
	pageToken       = webhookgatewayv1.ErrorReason_ERROR_REASON_PAGE_TOKEN_INVALID
	notFound        = webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_NOT_FOUND
	unusable        = webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_UNUSABLE
	malformed       = webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_MALFORMED
	anotherLog      = webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_OF_ANOTHER_LOG
	historyLost     = webhookgatewayv1.ErrorReason_ERROR_REASON_HISTORY_LOST
	ahead           = webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_AHEAD
	expired         = webhookgatewayv1.ErrorReason_ERROR_REASON_CURSOR_EXPIRED
	damaged         = webhookgatewayv1.ErrorReason_ERROR_REASON_EVENT_DAMAGED
	tooManyStreams  = webhookgatewayv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS
	tooManyWaiting  = webhookgatewayv1.ErrorReason_ERROR_REASON_TOO_MANY_WAITING
	eventNotFound   = webhookgatewayv1.ErrorReason_ERROR_REASON_EVENT_NOT_FOUND
	exists          = webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_EXISTS
	notStrict       = webhookgatewayv1.ErrorReason_ERROR_REASON_SUBSCRIPTION_NOT_STRICT
	subscribeFrame  = "webhookgateway.v1.SubscribeResponse"
	consumeFrame    = "webhookgateway.v1.ConsumeResponse"
	contentNDJSON   = "application/x-ndjson"
	contentJSON     = "application/json"
	internalVersion = "v1"
)

// everyCall are the reasons that any call can fail with.
var everyCall = []webhookgatewayv1.ErrorReason{
	invalidField,
	webhookgatewayv1.ErrorReason_ERROR_REASON_LOG_UNAVAILABLE,
	webhookgatewayv1.ErrorReason_ERROR_REASON_STARTING,
	webhookgatewayv1.ErrorReason_ERROR_REASON_DRAINING,
	webhookgatewayv1.ErrorReason_ERROR_REASON_HOST_NOT_ALLOWED,
	webhookgatewayv1.ErrorReason_ERROR_REASON_CROSS_ORIGIN,
	webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_MISSING,
	webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_INVALID,
	webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_EXPIRED,
	webhookgatewayv1.ErrorReason_ERROR_REASON_ISSUER_UNAVAILABLE,
}

// calls returns what is said of each operation, by the id that the plugin gives it.
func calls() map[string]call {
	type reasons = []webhookgatewayv1.ErrorReason
	subscribe := reasons{malformed, anotherLog, historyLost, ahead, expired, damaged, tooManyStreams}
	listEvents := reasons{pageToken, historyLost, expired, damaged}
	start := reasons{malformed, anotherLog, historyLost, ahead, expired}
	return map[string]call{
		"EventService_Subscribe":    {id: "subscribe", reasons: subscribe, stream: subscribeFrame},
		"EventService_Subscribe_1":  {id: "subscribeByQuery", reasons: subscribe, stream: subscribeFrame},
		"EventService_ListEvents":   {id: "listEvents", reasons: listEvents},
		"EventService_ListEvents_1": {id: "listEventsByFilter", reasons: listEvents},
		"EventService_GetEvent":     {id: "getEvent", reasons: reasons{eventNotFound, malformed, anotherLog, historyLost, damaged}},
		"EventService_GetLogInfo":   {id: "getLogInfo"},
		"SubscriptionService_CreateSubscription": {
			id: "createSubscription", reasons: append(start, exists, unusable),
		},
		"SubscriptionService_ListSubscriptions":   {id: "listSubscriptions", reasons: reasons{pageToken}},
		"SubscriptionService_GetSubscription":     {id: "getSubscription", reasons: reasons{notFound}},
		"SubscriptionService_UpdateSubscription":  {id: "updateSubscription", reasons: reasons{notFound, unusable}},
		"SubscriptionService_DeleteSubscription":  {id: "deleteSubscription", reasons: reasons{notFound}},
		"SubscriptionService_SeekSubscription":    {id: "seekSubscription", reasons: append(start, notFound, unusable)},
		"SubscriptionService_Consume":             {id: "consume", reasons: reasons{notFound, unusable, tooManyStreams}, stream: consumeFrame},
		"SubscriptionService_Acknowledge":         {id: "acknowledge", reasons: reasons{notFound, unusable}},
		"SubscriptionService_Reject":              {id: "reject", reasons: reasons{notFound, unusable, tooManyWaiting}},
		"SubscriptionService_ExtendDeadline":      {id: "extendDeadline", reasons: reasons{notFound, unusable}},
		"SubscriptionService_CommitCursor":        {id: "commitCursor", reasons: append(start, notFound, unusable, notStrict)},
		"SubscriptionService_ListParkedEvents":    {id: "listParkedEvents", reasons: reasons{pageToken, notFound, unusable}},
		"SubscriptionService_ReplayParkedEvents":  {id: "replayParkedEvents", reasons: reasons{notFound, unusable, tooManyWaiting}},
		"SubscriptionService_DiscardParkedEvents": {id: "discardParkedEvents", reasons: reasons{notFound, unusable}},

		"OperatorService_GetCaller":       {id: "getCaller"},
		"OperatorService_GetOverview":     {id: "getOverview"},
		"OperatorService_GetHistory":      {id: "getHistory"},
		"OperatorService_ListStreams":     {id: "listStreams"},
		"OperatorService_ListRefusals":    {id: "listRefusals", reasons: reasons{pageToken}},
		"OperatorService_ListSessions":    {id: "listSessions", reasons: reasons{pageToken}},
		"OperatorService_ListEventStates": {id: "listEventStates", reasons: reasons{eventNotFound, malformed, anotherLog, historyLost, damaged}},
	}
}

// editInternal makes the document of the internal port.
func editInternal(d document, reasons map[webhookgatewayv1.ErrorReason]reason) error {
	d["info"] = document{
		"title":   "webhook-gateway",
		"summary": "Events of the log, live and from history, durable subscriptions, and what the gateway does.",
		"description": "EventService, SubscriptionService and OperatorService as JSON, and backups, on the internal port. The JSON is that of protobuf: 64-bit " +
			"integers are strings, fields of value zero are left out, durations are seconds with an `s`.",
		"version": internalVersion,
		"license": document{"name": "Apache-2.0", "identifier": "Apache-2.0"},
	}
	d["servers"] = []any{document{"url": "/", "description": "The internal port of the gateway that serves this document."}}
	if err := addSecurity(d); err != nil {
		return err
	}
	if err := cmp.Or(dropOneofs(d), movePath(d, "/v1/subscriptions/{subscription.name}", "/v1/subscriptions/{name}")); err != nil {
		return err
	}
	all, err := operations(d)
	if err != nil {
		return err
	}
	known, sent := calls(), slices.Clone(everyCall)
	for _, op := range all {
		old, _ := op.document["operationId"].(string)
		c, ok := known[old]
		if !ok {
			return fmt.Errorf("nothing is said of operation %s", old)
		}
		delete(known, old)
		op.document["operationId"] = c.id
		can := append(slices.Clone(everyCall), c.reasons...)
		if op.document["requestBody"] != nil {
			can = append(can, contentType, webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_TOO_LARGE)
		}
		sent = append(sent, can...)
		if err := op.addErrors(list(reasons, can...)); err != nil {
			return err
		}
		if c.stream != "" {
			if err := op.makeStream(c.stream); err != nil {
				return err
			}
		}
		if c.id == "getEvent" {
			if err := op.addEvents(); err != nil {
				return err
			}
		}
	}
	for id := range maps.Keys(known) {
		return fmt.Errorf("there is no operation %s", id)
	}
	return cmp.Or(addBackup(d, reasons), addErrorSchema(d, list(reasons, sent...)))
}

// addSecurity says how a caller shows who it is. A gateway without access control asks
// for nothing.
func addSecurity(d document) error {
	components, err := object(d, "components")
	if err != nil {
		return err
	}
	components["securitySchemes"] = document{
		"bearer": document{
			"type": "http", "scheme": "bearer",
			"description": "A token of the gateway's configuration, or a JWT of the issuer that it names.",
		},
		"certificate": document{"type": "mutualTLS", "description": "A client certificate."},
	}
	d["security"] = []any{document{"bearer": []any{}}, document{"certificate": []any{}}, document{}}
	return nil
}

// makeStream says that the answer is a stream of lines. OpenAPI 3.1 cannot say that a
// schema is that of one line of a body, so words do.
func (o operation) makeStream(frame string) error {
	ok, err := object(o.document, "responses", "200")
	if err != nil {
		return err
	}
	ok["description"] = "One JSON object a line: the schema is that of a line. A stream that fails after its first line ends with a " +
		"line that is an `" + errorSchema + "`."
	ok["content"] = document{contentNDJSON: document{
		"schema":  reference(frame),
		"example": document{"subscribed": document{"startCursor": "…", "heartbeatInterval": "20s"}},
	}}
	return nil
}

// dropOneofs removes what the plugin says of oneofs, a combination of schemas for
// each: generators of clients make one type of each combination, or refuse it. All
// members stay properties.
func dropOneofs(d document) error {
	schemas, err := object(d, "components", "schemas")
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		schema, err := object(schemas, name)
		if err != nil {
			return err
		}
		dropOneof(schema)
	}
	all, err := operations(d)
	if err != nil {
		return err
	}
	for _, op := range all {
		if schema, err := object(op.document, "requestBody", "content", contentJSON, "schema"); err == nil {
			dropOneof(schema)
		}
	}
	return nil
}

func dropOneof(schema document) {
	if schema["properties"] != nil {
		delete(schema, "oneOf")
		delete(schema, "allOf")
	}
}

// movePath puts the methods of a path to those of another, which is the same but for
// the name of its parameter: OpenAPI has one item for both.
func movePath(d document, from, to string) error {
	paths, err := object(d, "paths")
	if err != nil {
		return err
	}
	item, err := object(paths, from)
	if err != nil {
		return err
	}
	target, err := object(paths, to)
	if err != nil {
		return err
	}
	_, name, _ := strings.Cut(to, "{")
	for method := range item {
		op, err := object(item, method)
		if err != nil {
			return err
		}
		parameters, _ := op["parameters"].([]any)
		for _, p := range parameters {
			if p, ok := p.(document); ok && p["in"] == "path" {
				p["name"] = strings.TrimSuffix(name, "}")
			}
		}
		target[method] = op
	}
	delete(paths, from)
	return nil
}
