package redact

import (
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	sensitivityv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/sensitivity/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// Fields of webhookgateway.v1.Event that are written by hand.
const (
	fieldDecodeError = 10
	fieldMasked      = 14
)

// action is what becomes of a field.
type action uint8

const (
	drop action = iota
	keep
	descend
	// rename keeps a text of drift without the names that are not of the protos.
	rename
)

// rule is what becomes of a field, if it is encoded as its type is.
type rule struct {
	action action
	wire   protowire.Type
	// packed says that many values may be encoded as one.
	packed bool
	// message is for descend.
	message *message
}

// message has the rules of the fields of a message by number. Those beyond are dropped.
type message []rule

// of returns what becomes of a field that is encoded in some way.
func (m message) of(number protowire.Number, wire protowire.Type) *rule {
	if int(number) < len(m) {
		if r := &m[number]; wire == r.wire || r.packed && wire == protowire.BytesType {
			return r
		}
	}
	return &dropped
}

// dropped is the rule of a field that is not known.
var dropped = rule{action: drop}

// compiled has the masks that were asked for, by their Classes. There are few.
var compiled sync.Map

// For returns the mask of a set of classes, nil for none. It is compiled once.
func For(classes Classes) *Mask {
	if classes == 0 {
		return nil
	}
	if mask, ok := compiled.Load(classes); ok {
		return mask.(*Mask)
	}
	mask, _ := compiled.LoadOrStore(classes, compile(classes|of(firstClass)))
	return mask.(*Mask)
}

func compile(classes Classes) *Mask {
	c := compiler{classes: classes, done: make(map[protoreflect.FullName]*message), words: make(map[string]bool)}
	mask := &Mask{event: c.message((&webhookgatewayv1.Event{}).ProtoReflect().Descriptor()), words: c.words}
	(*mask.event)[fieldMasked].action = drop // it is written anew
	if r := &(*mask.event)[fieldDecodeError]; r.action == drop {
		r.action = rename
	}
	var list []byte
	for _, class := range classes.List() {
		list = protowire.AppendVarint(list, uint64(class)) //nolint:gosec // not negative
	}
	mask.masked = protowire.AppendBytes(protowire.AppendTag(nil, fieldMasked, protowire.BytesType), list)
	return mask
}

type compiler struct {
	classes Classes
	done    map[protoreflect.FullName]*message
	words   map[string]bool
}

func (c *compiler) message(descriptor protoreflect.MessageDescriptor) *message {
	if m := c.done[descriptor.FullName()]; m != nil {
		return m
	}
	fields := descriptor.Fields()
	last := protowire.Number(0)
	for i := range fields.Len() {
		last = max(last, fields.Get(i).Number())
	}
	m := make(message, last+1)
	c.done[descriptor.FullName()] = &m
	for i := range fields.Len() {
		field := fields.Get(i)
		c.words[field.JSONName()] = true
		m[field.Number()] = c.rule(field)
	}
	return &m
}

func (c *compiler) rule(field protoreflect.FieldDescriptor) rule {
	r := rule{wire: wireType(field.Kind())}
	r.packed = field.IsList() && r.wire != protowire.BytesType
	switch class := Of(field); {
	case class == sensitivityv1.Sensitivity_SENSITIVITY_NONE,
		class >= firstClass && !c.classes.Has(class):
		r.action = keep
	case class == sensitivityv1.Sensitivity_SENSITIVITY_UNSPECIFIED && field.Message() != nil && !field.IsMap():
		r.action, r.message = descend, c.message(field.Message())
	}
	return r
}

// Of returns how a field is marked.
func Of(field protoreflect.FieldDescriptor) sensitivityv1.Sensitivity {
	class, _ := proto.GetExtension(field.Options(), sensitivityv1.E_Sensitivity).(sensitivityv1.Sensitivity)
	return class
}

func wireType(kind protoreflect.Kind) protowire.Type {
	switch kind {
	case protoreflect.DoubleKind, protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return protowire.Fixed64Type
	case protoreflect.FloatKind, protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind:
		return protowire.Fixed32Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	case protoreflect.GroupKind:
		return protowire.StartGroupType
	case protoreflect.BoolKind, protoreflect.EnumKind, protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Uint32Kind,
		protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Uint64Kind:
	}
	return protowire.VarintType
}
