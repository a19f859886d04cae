package finicity

import (
	"google.golang.org/protobuf/proto"

	connectv1 "github.com/webhook-gateway/webhook-gateway/gen/finicity/connect/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/drift"
)

// The members of the body that are not fields of ConnectEvent, in the order in
// which the schema holds them back.
const (
	heldEventType = iota
	heldEventName
	heldPayload
	heldEventID
)

type decoder struct {
	wrapper *drift.Schema
	types   map[string]decodedType
}

// decodedType is an event type with the schema of its payload.
type decodedType struct {
	eventType
	payload *drift.Schema
}

func newDecoder() *decoder {
	d := &decoder{
		wrapper: drift.NewSchema(&connectv1.ConnectEvent{}, "eventType", "eventName", "payload", "eventId"),
		types:   make(map[string]decodedType),
	}
	for _, t := range eventTypes() {
		decoded := decodedType{eventType: t}
		if t.id != webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_DONE {
			message := (&connectv1.ConnectEvent{}).ProtoReflect().Mutable(t.arm).Message()
			decoded.payload = drift.NewSchema(message.Interface())
		}
		d.types[t.name] = decoded
	}
	return d
}

func (d *decoder) decode(body []byte) (provider.Decoded, error) {
	var reader drift.Decoder
	connect := &connectv1.ConnectEvent{}
	held, err := reader.Decode(d.wrapper, body, connect)
	if err != nil {
		return provider.Decoded{}, err
	}
	id := eventID(&reader, held[heldEventID], connect)
	subject := customer(&reader, connect)
	typeName, t := d.typeOf(&reader, held)
	d.payload(&reader, held[heldPayload], t, connect)
	return provider.Decoded{
		Event: &webhookgatewayv1.Event{
			Type:            t.id,
			TypeName:        typeName,
			Subject:         subject,
			ProviderEventId: id,
			Payload:         &webhookgatewayv1.Event_Finicity{Finicity: connect},
			DecodeError:     reader.Notes(),
		},
		Probe: t.id == webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_PING,
	}, nil
}

// typeOf returns the name that the body gives its type, and the type. A type
// without an arm is unrecognised.
func (d *decoder) typeOf(reader *drift.Decoder, held []drift.Value) (string, decodedType) {
	unrecognized := decodedType{eventType: eventType{id: webhookgatewayv1.EventType_EVENT_TYPE_UNRECOGNIZED}}
	switch {
	case held[heldEventType] != nil:
		if held[heldEventName] != nil {
			reader.Note("eventName", "unknown field")
		}
		name := reader.Name("eventType", held[heldEventType])
		if t, known := d.types[name]; known {
			return name, t
		}
		reader.Note("eventType", "unknown event type")
		return name, unrecognized
	case held[heldEventName] != nil:
		// NOTE: a report notification is not the event of the same name: `done` is both.
		reader.Note("eventName", "a report notification, which has no typed payload")
		return reader.Name("eventName", held[heldEventName]), unrecognized
	}
	reader.Note("eventType", "missing")
	return "", unrecognized
}

// payload decodes the payload into the arm of its type.
func (d *decoder) payload(reader *drift.Decoder, payload drift.Value, t decodedType, connect *connectv1.ConnectEvent) {
	switch {
	case t.arm == nil && payload != nil:
		reader.Note("payload", "left out, of an unknown event type")
	case t.arm == nil:
	case t.payload == nil:
		done := &connectv1.Done{Payload: reader.Value("payload", payload)}
		if s := done.GetPayload().GetStructValue(); s != nil && len(s.GetFields()) == 0 {
			done.Payload = nil
		}
		connect.Event = &connectv1.ConnectEvent_Done{Done: done}
	default:
		message := connect.ProtoReflect().Mutable(t.arm).Message()
		reader.Message("payload", payload, t.payload, message.Interface())
	}
}

// eventID decodes the event id, and returns it to recognise a retry by. Only a
// string is one: events that say `false`, or a number that has lost digits on its
// way, are not retries of each other.
func eventID(reader *drift.Decoder, value drift.Value, connect *connectv1.ConnectEvent) string {
	id, ok, exact := reader.Text("eventId", value)
	if !ok {
		return ""
	}
	connect.EventId = proto.String(id)
	switch {
	case !exact:
		return ""
	case len(id) > provider.MaxEventIDBytes:
		reader.Note("eventId", "too long to recognise a retry by")
		return ""
	}
	return id
}

// customer returns whom the event is about.
func customer(reader *drift.Decoder, connect *connectv1.ConnectEvent) string {
	id := connect.GetCustomerId()
	if len(id) > provider.MaxSubjectBytes {
		reader.Note("customerId", "too long to be the subject")
		return ""
	}
	return id
}
