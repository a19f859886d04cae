// Package unknownfields finds what a message has of a later version of the protos. Whoever only
// passes a message on need not care. Whoever does what it says must not leave out a part of it,
// such as a condition of a filter.
package unknownfields

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Error names a field that this version of the gateway does not know.
type Error struct {
	// Message is the full name of the message that has it, and Number its number.
	Message protoreflect.FullName
	Number  protowire.Number
}

func (e *Error) Error() string {
	return fmt.Sprintf("field %d of %s is not known to this version of the gateway", e.Number, e.Message)
}

// Check returns an *Error if a message, or one within it, has a field that is not known. Maps
// are not looked into: the protos of the gateway have none.
func Check(m proto.Message) error {
	if found := find(m.ProtoReflect()); found != nil {
		return found
	}
	return nil
}

func find(m protoreflect.Message) (found *Error) {
	if unknown := m.GetUnknown(); len(unknown) > 0 {
		number, _, _ := protowire.ConsumeTag(unknown)
		return &Error{Message: m.Descriptor().FullName(), Number: number}
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Message() == nil || field.IsMap():
		case field.IsList():
			for i := 0; i < value.List().Len() && found == nil; i++ {
				found = find(value.List().Get(i).Message())
			}
		default:
			found = find(value.Message())
		}
		return found == nil
	})
	return found
}
