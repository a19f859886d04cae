package unknownfields_test

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/unknownfields"
)

// newer returns a message with a field of a later version.
func newer[M proto.Message](m M) M {
	m.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
	return m
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		message proto.Message
		want    string // the message that has the field
	}{
		"nothing": {&webhookgatewayv1.Subscription{}, ""},
		"known": {&webhookgatewayv1.Subscription{
			Name: "a", Filters: []*webhookgatewayv1.EventFilter{{ClientIds: []string{"c"}}},
			Settings: &webhookgatewayv1.SubscriptionSettings{AckDeadline: durationpb.New(1)},
		}, ""},
		"at the top": {newer(&webhookgatewayv1.Subscription{Name: "a"}), "Subscription"},
		"within": {
			&webhookgatewayv1.Subscription{Settings: newer(&webhookgatewayv1.SubscriptionSettings{})}, "SubscriptionSettings",
		},
		"in a list": {
			&webhookgatewayv1.Subscription{Filters: []*webhookgatewayv1.EventFilter{{}, newer(&webhookgatewayv1.EventFilter{})}}, "EventFilter",
		},
	} {
		t.Run(name, func(t *testing.T) {
			bytes, err := proto.Marshal(c.message)
			if err != nil {
				t.Fatal(err)
			}
			received := c.message.ProtoReflect().New().Interface()
			if err := proto.Unmarshal(bytes, received); err != nil {
				t.Fatal(err)
			}
			err = unknownfields.Check(received)
			var unknown *unknownfields.Error
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want == "":
			case !errors.As(err, &unknown), unknown.Number != 99, string(unknown.Message) != "webhookgateway.v1."+c.want:
				t.Errorf("%v, want field 99 of %s", err, c.want)
			}
		})
	}
}
