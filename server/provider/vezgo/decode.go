package vezgo

import (
	vezgov1 "github.com/webhook-gateway/webhook-gateway/gen/vezgo/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/drift"
)

// The values of `hook`.
const (
	hookSyncAccount = "SyncAccount"
	hookSyncError   = "SyncError"
)

// The members of the body that are not fields of SyncEvent, in the order in
// which the schema holds them back.
const (
	heldHook = iota
	heldError
)

type decoder struct {
	body *drift.Schema
}

func newDecoder() *decoder {
	return &decoder{body: drift.NewSchema(&vezgov1.SyncEvent{}, "hook", "error")}
}

func (d *decoder) decode(body []byte) (provider.Decoded, error) {
	var reader drift.Decoder
	sync := &vezgov1.SyncEvent{}
	held, err := reader.Decode(d.body, body, sync)
	if err != nil {
		return provider.Decoded{}, err
	}
	event := &webhookgatewayv1.Event{
		Type:     webhookgatewayv1.EventType_EVENT_TYPE_UNRECOGNIZED,
		TypeName: reader.Name("hook", held[heldHook]),
		Payload:  &webhookgatewayv1.Event_Vezgo{Vezgo: sync},
	}
	switch event.GetTypeName() {
	case hookSyncAccount:
		event.Type = webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ACCOUNT
		sync.Event = &vezgov1.SyncEvent_SyncAccount{SyncAccount: &vezgov1.SyncAccount{}}
	case hookSyncError:
		event.Type = webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ERROR
		sync.Event = &vezgov1.SyncEvent_SyncError{SyncError: syncError(&reader, held[heldError])}
	default:
		noteUnknown(&reader, held[heldHook])
	}
	if held[heldError] != nil && sync.GetSyncError() == nil {
		reader.Note("error", "unknown field")
	}
	if event.Subject = sync.GetUser().GetId(); len(event.GetSubject()) > provider.MaxSubjectBytes {
		event.Subject = ""
		reader.Note("user", "its id is too long to be the subject")
	}
	event.DecodeError = reader.Notes()
	return provider.Decoded{Event: event}, nil
}

func noteUnknown(reader *drift.Decoder, hook drift.Value) {
	text := "unknown event type"
	if hook == nil {
		text = "missing"
	}
	reader.Note("hook", text)
}

func syncError(reader *drift.Decoder, value drift.Value) *vezgov1.SyncError {
	if value == nil {
		reader.Note("error", "missing")
	}
	name := reader.Name("error", value)
	return &vezgov1.SyncError{Error: errorKind(name), ErrorName: name}
}

// errorKind returns the kind that Vezgo gives a name. An unrecognised kind is no
// drift: the name beside it carries what was sent.
func errorKind(name string) vezgov1.ErrorKind {
	switch name {
	case "LoginFailedError":
		return vezgov1.ErrorKind_ERROR_KIND_LOGIN_FAILED
	case "SecurityQuestionError":
		return vezgov1.ErrorKind_ERROR_KIND_SECURITY_QUESTION
	case "TemporaryFailureError":
		return vezgov1.ErrorKind_ERROR_KIND_TEMPORARY_FAILURE
	case "UnhandledConnectorError":
		return vezgov1.ErrorKind_ERROR_KIND_UNHANDLED_CONNECTOR
	case "UnknownConnectorError":
		return vezgov1.ErrorKind_ERROR_KIND_UNKNOWN_CONNECTOR
	}
	return vezgov1.ErrorKind_ERROR_KIND_UNRECOGNIZED
}
