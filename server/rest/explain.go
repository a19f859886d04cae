package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// explain returns what is wrong with a JSON text that is not a message of a type:
// the errors of the JSON packages name places in the text, Go types and tokens, and
// not the field and what it should be.
func explain(text []byte, t protoreflect.MessageType) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			return fielderr.New("", "the body is not valid JSON: look at byte %d", syntax.Offset)
		}
		return fielderr.New("", "the body is not valid JSON: it ends too early")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fielderr.New("", "the body must be one JSON object: something follows it")
	}
	if err := explainMessage("", value, t); err != nil {
		return err
	}
	return fielderr.New("", "the body is not valid: a key is there twice, or a text is not UTF-8")
}

func explainMessage(path string, value any, t protoreflect.MessageType) error {
	object, ok := value.(map[string]any)
	if !ok {
		return fielderr.New(path, "must be a JSON object")
	}
	// The fields that are given, also by the oneof that they are in.
	given := make(map[protoreflect.FullName]protoreflect.FieldDescriptor)
	for _, key := range slices.Sorted(maps.Keys(object)) {
		field := fieldNamed(t.Descriptor(), key)
		if field == nil {
			return fielderr.New(under(path, fielderr.Key(clip(key))), "there is no such field: known here are %s", names(t.Descriptor()))
		}
		at := under(path, string(field.Name()))
		if object[key] == nil {
			continue // as if it were not there
		}
		if given[field.FullName()] != nil {
			return fielderr.New(at, "is given twice")
		}
		given[field.FullName()] = field
		if oneof := field.ContainingOneof(); oneof != nil {
			if other := given[oneof.FullName()]; other != nil {
				return fielderr.New(at, "cannot be given beside %s: give one of them", other.JSONName())
			}
			given[oneof.FullName()] = field
		}
		if err := explainField(at, object[key], field, t); err != nil {
			return err
		}
	}
	return nil
}

func explainField(path string, value any, field protoreflect.FieldDescriptor, t protoreflect.MessageType) error {
	list, isList := value.([]any)
	switch {
	case fits(t, field, value):
		return nil
	case field.IsList() && isList:
		for i, element := range list {
			at := path + "[" + strconv.Itoa(i) + "]"
			if field.Message() != nil && !isText(field.Message()) {
				if err := explainMessage(at, element, t.New().NewField(field).List().NewElement().Message().Type()); err != nil {
					return err
				}
			} else if !fits(t, field, []any{element}) {
				return fielderr.New(at, "must be %s", wanted(field))
			}
		}
		return nil
	case field.IsList():
		return fielderr.New(path, "must be a list, of each element %s", wanted(field))
	case field.Message() != nil && !isText(field.Message()) && !field.IsMap():
		return explainMessage(path, value, t.New().NewField(field).Message().Type())
	}
	return fielderr.New(path, "must be %s", wanted(field))
}

// fits reports whether a field takes a value.
func fits(t protoreflect.MessageType, field protoreflect.FieldDescriptor, value any) bool {
	text, err := json.Marshal(map[string]any{field.JSONName(): value})
	return err == nil && protojson.Unmarshal(text, t.New().Interface()) == nil
}

// fieldNamed returns the field with a name, as JSON or the proto has it, or nil.
func fieldNamed(m protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if f := m.Fields().ByJSONName(name); f != nil {
		return f
	}
	return m.Fields().ByTextName(name)
}

func names(m protoreflect.MessageDescriptor) string {
	var list []string
	for i := range m.Fields().Len() {
		list = append(list, m.Fields().Get(i).JSONName())
	}
	return strings.Join(list, ", ")
}

func under(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// isText reports whether a message is a text in JSON.
func isText(m protoreflect.MessageDescriptor) bool {
	switch m.FullName() {
	case "google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask":
		return true
	}
	return false
}

// wanted says what the value of a field, or an element of it, looks like.
func wanted(field protoreflect.FieldDescriptor) string {
	if m := field.Message(); m != nil {
		switch m.FullName() {
		case "google.protobuf.Timestamp":
			return "a time such as 2026-11-24T09:30:00Z"
		case "google.protobuf.Duration":
			return "a duration in seconds such as 30s or 1.5s"
		case "google.protobuf.FieldMask":
			return "names of fields with commas between them"
		}
		return "a JSON object"
	}
	switch field.Kind() {
	case protoreflect.BoolKind:
		return "true or false"
	case protoreflect.StringKind:
		return "a text"
	case protoreflect.BytesKind:
		return "a text in base64"
	case protoreflect.EnumKind:
		var list []string
		for i := range field.Enum().Values().Len() {
			if v := field.Enum().Values().Get(i); v.Number() != 0 { // unset
				list = append(list, string(v.Name()))
			}
		}
		return "one of " + strings.Join(list, ", ")
	default:
		return "a whole number" // there are no others
	}
}
