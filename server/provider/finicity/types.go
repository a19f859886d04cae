package finicity

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	connectv1 "github.com/webhook-gateway/webhook-gateway/gen/finicity/connect/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// eventType is one event type of Finicity.
type eventType struct {
	name string
	id   webhookgatewayv1.EventType
	// arm is the event's arm in ConnectEvent.
	arm protoreflect.FieldDescriptor
}

// eventTypes returns all event types in the order of the proto. The proto is the
// list: an arm of ConnectEvent has the JSON name that Finicity gives the type, and
// the enum value of the arm's name.
func eventTypes() []eventType {
	arms := (&connectv1.ConnectEvent{}).ProtoReflect().Descriptor().Oneofs().ByName("event").Fields()
	types := make([]eventType, arms.Len())
	for i := range types {
		arm := arms.Get(i)
		id := webhookgatewayv1.EventType_value["EVENT_TYPE_FINICITY_"+strings.ToUpper(string(arm.Name()))]
		types[i] = eventType{name: arm.JSONName(), id: webhookgatewayv1.EventType(id), arm: arm}
	}
	return types
}
