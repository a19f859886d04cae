package drift

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
)

// maxMembers is how many members a schema can have: one bit each.
const maxMembers = 64

// Schema says how the members of a JSON object go into a message. It is built
// once and safe for concurrent use.
type Schema struct {
	members map[string]member
	// held is how many members are handed over.
	held int
}

// member is what becomes of a member of a JSON object.
type member struct {
	// number is unique in the schema and less than maxMembers.
	number int
	// field is nil for a member that is handed over as it is.
	field protoreflect.FieldDescriptor
	want  want
	// schema of the elements or of the field itself, for wantMessage.
	schema *Schema
}

type want int

const (
	wantString want = iota
	wantBool
	wantInt64
	wantDouble
	wantMessage
	wantStruct
)

// NewSchema returns the schema of a message: a field takes the member of its JSON
// name. The members named by held are handed over to the caller; they win over
// fields. Fields of a oneof are left to the caller.
//
// It panics if a message cannot be filled from JSON, which is a mistake in the
// program.
func NewSchema(message proto.Message, held ...string) *Schema {
	s := newSchema(message.ProtoReflect().Descriptor(), len(held), make(map[protoreflect.FullName]*Schema))
	s.held = len(held)
	for i, name := range held {
		s.members[name] = member{number: i}
	}
	return s
}

func newSchema(message protoreflect.MessageDescriptor, reserved int, done map[protoreflect.FullName]*Schema) *Schema {
	if s := done[message.FullName()]; s != nil {
		return s
	}
	fields := message.Fields()
	if reserved+fields.Len() > maxMembers {
		panic(fmt.Sprintf("message %s has more than %d fields", message.FullName(), maxMembers))
	}
	s := &Schema{members: make(map[string]member, fields.Len())}
	done[message.FullName()] = s
	for i := range fields.Len() {
		field := fields.Get(i)
		if oneof := field.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
			continue
		}
		m := member{number: reserved + i, field: field, want: wantOf(field)}
		if m.want == wantMessage {
			m.schema = newSchema(field.Message(), 0, done)
		}
		s.members[field.JSONName()] = m
	}
	return s
}

func wantOf(field protoreflect.FieldDescriptor) want {
	if field.IsMap() {
		panic(fmt.Sprintf("field %s is a map", field.FullName()))
	}
	switch field.Kind() { //nolint:exhaustive // the rest is a mistake in the program
	case protoreflect.StringKind:
		return wantString
	case protoreflect.BoolKind:
		return wantBool
	case protoreflect.Int64Kind:
		return wantInt64
	case protoreflect.DoubleKind:
		return wantDouble
	case protoreflect.MessageKind:
		switch field.Message().FullName() {
		case (&structpb.Struct{}).ProtoReflect().Descriptor().FullName():
			return wantStruct
		case (&structpb.Value{}).ProtoReflect().Descriptor().FullName():
		default:
			return wantMessage
		}
	}
	panic(fmt.Sprintf("field %s is of a kind that JSON is not decoded into", field.FullName()))
}
