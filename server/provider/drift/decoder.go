// Package drift decodes the JSON of a provider into protobuf messages and notes
// where the provider drifted from them. What does not fit is left out, never
// refused, so that an authentic event is not lost because its sender changed.
//
// A field takes what fits without loss:
//
//	string   a string; with a note: the text of a number or boolean
//	bool     a boolean; with a note: the strings "true" and "false"
//	int64    a number that is an integer in its range; with a note: a string of one
//	double   a number, with a note if it loses digits; with a note: a string of one
//	message  an object; with a note: a string that holds one, for a Struct only
//	repeated an array, without the elements that do not fit, each with a note
//
// A null is absent. A name that occurs twice counts with its last value. Invalid
// UTF-8 becomes U+FFFD. Both are noted, as is every unknown member. No notes
// means that the message carries all that was sent.
//
// Notes name paths and kinds, never values. They are bounded in number and size.
package drift

import (
	"bytes"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// maxDepth is how deep objects and arrays may nest in what is decoded, counted
	// from the body. A level of a Struct is three messages, and most protobuf
	// libraries stop reading at 100, so a deeper payload could not be received.
	maxDepth = 30
	// maxNodes is how many messages, elements and members a payload may have. It
	// bounds the memory that a large body of tiny values takes once decoded.
	maxNodes = 20_000
	// maxHeldNameBytes bounds the names that events carry outside of the payload.
	maxHeldNameBytes = 256
)

// Decoder decodes one body. Its zero value is ready. It reads the body, and
// copies what it keeps.
type Decoder struct {
	notes notes
	held  []Value
	depth int
	nodes int
}

// Decode reads body into message and returns the members that the schema holds
// back, in the order in which NewSchema got them; nil for one that is absent or
// null. The only error is a *provider.Refusal, if body is not one JSON object.
func (d *Decoder) Decode(schema *Schema, body []byte, message proto.Message) ([]Value, error) {
	object, err := checkObject(body)
	if err != nil {
		return nil, err
	}
	d.held = make([]Value, schema.held)
	d.object(schema, object, message.ProtoReflect())
	return d.held, nil
}

// Message reads a held member into a message. Nil is an empty object.
func (d *Decoder) Message(name string, value Value, schema *Schema, message proto.Message) {
	if value == nil {
		return
	}
	d.notes.enter([]byte(name))
	if k := kindOf(value); k == kindObject {
		d.object(schema, value, message.ProtoReflect())
	} else {
		d.mismatch(kindObject, k)
	}
	d.notes.leave()
}

// Text returns a held member as a field of type string takes it. It reports
// whether there is one that fits, and whether that was a string to begin with.
func (d *Decoder) Text(name string, value Value) (text string, ok, exact bool) {
	if value == nil {
		return "", false, false
	}
	d.notes.enter([]byte(name))
	defer d.notes.leave()
	text, ok = d.string(value)
	return text, ok, ok && kindOf(value) == kindString
}

// Name returns a held member that is a name, such as that of an event type; empty
// if it is nil or does not fit. A name of more than 256 bytes does not.
func (d *Decoder) Name(name string, value Value) string {
	if value == nil {
		return ""
	}
	d.notes.enter([]byte(name))
	defer d.notes.leave()
	s, _ := d.string(value)
	if len(s) > maxHeldNameBytes {
		d.notes.addf("left out, longer than %d bytes", maxHeldNameBytes)
		return ""
	}
	return s
}

// Note adds a note about a member of the body. The text must not hold values.
func (d *Decoder) Note(name, text string) { d.notes.addMember([]byte(name), text) }

// Notes returns what was noted so far in one line; empty if nothing was.
func (d *Decoder) Notes() string { return d.notes.String() }

func (d *Decoder) mismatch(wanted, got kind) {
	d.notes.addf("left out, %s where %s is expected", article(got), article(wanted))
}

func (d *Decoder) coerced(wanted, got kind) {
	d.notes.addf("coerced, %s where %s is expected", article(got), article(wanted))
}

// node counts one more part of the payload and reports whether it may be decoded.
func (d *Decoder) node() bool {
	d.nodes++
	if d.nodes > maxNodes {
		d.notes.addf("left out, the body has more than %d values", maxNodes)
		return false
	}
	return true
}

// nest opens an object or array. Where it returns true, unnest closes it.
func (d *Decoder) nest() bool {
	if d.depth == maxDepth {
		d.notes.addf("left out, nested deeper than %d levels", maxDepth)
		return false
	}
	d.depth++
	return true
}

func (d *Decoder) unnest() { d.depth-- }

func (d *Decoder) object(schema *Schema, object Value, message protoreflect.Message) {
	if !d.nest() {
		return
	}
	defer d.unnest()
	var seen uint64
	for quoted, value := range object.members() {
		name := d.name(quoted)
		m, known := schema.members[string(name)]
		if !known {
			d.notes.addMember(name, "unknown field")
			continue
		}
		bit := uint64(1) << m.number
		if seen&bit != 0 {
			d.notes.addMember(name, "given more than once, the last counts")
			d.clear(m, message)
		}
		seen |= bit
		if kindOf(value) == kindNull {
			continue
		}
		d.notes.enter(name)
		switch {
		case m.field == nil:
			d.held[m.number] = value
		case m.field.IsList():
			d.list(m, value, message)
		default:
			if v, ok := d.value(m, value, message); ok {
				message.Set(m.field, v)
			}
		}
		d.notes.leave()
	}
}

func (d *Decoder) clear(m member, message protoreflect.Message) {
	if m.field == nil {
		d.held[m.number] = nil
		return
	}
	message.Clear(m.field)
}

func (d *Decoder) list(m member, value Value, message protoreflect.Message) {
	if k := kindOf(value); k != kindArray {
		d.mismatch(kindArray, k)
		return
	}
	if !d.nest() {
		return
	}
	defer d.unnest()
	list, i := message.Mutable(m.field).List(), 0
	for element := range value.elements() {
		if !d.node() {
			return
		}
		d.notes.enterElement(i)
		if v, ok := d.value(m, element, message); ok {
			list.Append(v)
		}
		d.notes.leave()
		i++
	}
}

// value returns what a field, or an element of it, is set to.
func (d *Decoder) value(m member, value Value, message protoreflect.Message) (protoreflect.Value, bool) {
	switch m.want {
	case wantString:
		s, ok := d.string(value)
		return protoreflect.ValueOfString(s), ok
	case wantBool:
		b, ok := d.bool(value)
		return protoreflect.ValueOfBool(b), ok
	case wantInt64:
		i, ok := d.int64(value)
		return protoreflect.ValueOfInt64(i), ok
	case wantDouble:
		f, ok := d.double(value)
		return protoreflect.ValueOfFloat64(f), ok
	case wantStruct:
		s := d.structure(value)
		return protoreflect.ValueOfMessage(s.ProtoReflect()), s != nil
	case wantMessage:
		if k := kindOf(value); k != kindObject {
			d.mismatch(kindObject, k)
			return protoreflect.Value{}, false
		}
		sub := message.NewField(m.field)
		if m.field.IsList() {
			sub = sub.List().NewElement()
		}
		d.object(m.schema, value, sub.Message())
		return sub, true
	}
	return protoreflect.Value{}, false
}

func (d *Decoder) string(value Value) (string, bool) {
	switch k := kindOf(value); k {
	case kindString:
		return d.unquote(value), true
	case kindNumber, kindBoolean:
		d.coerced(kindString, k)
		return string(value), true
	case kindNull, kindObject, kindArray:
		d.mismatch(kindString, k)
	}
	return "", false
}

func (d *Decoder) bool(value Value) (result, ok bool) {
	switch k := kindOf(value); {
	case k == kindBoolean:
		return value[0] == 't', true
	case string(value) == `"true"`, string(value) == `"false"`:
		d.coerced(kindBoolean, k)
		return value[1] == 't', true
	default:
		d.mismatch(kindBoolean, k)
		return false, false
	}
}

func (d *Decoder) int64(value Value) (int64, bool) {
	k := kindOf(value)
	number := numberText(value)
	if number == nil {
		d.mismatch(kindNumber, k)
		return 0, false
	}
	i, ok := parseInt(number)
	switch {
	case !ok:
		d.notes.add("left out, not an integer of 64 bits")
	case k == kindString:
		d.coerced(kindNumber, k)
	}
	return i, ok
}

func (d *Decoder) double(value Value) (float64, bool) {
	k := kindOf(value)
	number := numberText(value)
	if number == nil {
		d.mismatch(kindNumber, k)
		return 0, false
	}
	f, ok := d.float(number)
	if ok && k == kindString {
		d.coerced(kindNumber, k)
	}
	return f, ok
}

func (d *Decoder) float(number []byte) (float64, bool) {
	f, exact, ok := parseFloat(number)
	switch {
	case !ok:
		d.notes.add("left out, beyond the range of a double")
	case !exact:
		d.notes.add("lost digits, more precise than a double")
	}
	return f, ok
}

// numberText returns the text of a number, or of a string that is one, and nil
// for everything else.
func numberText(value Value) []byte {
	switch kindOf(value) {
	case kindNumber:
		return value
	case kindString:
		text := jsontext.Value(value[1 : len(value)-1])
		if len(text) > 0 && (text[0] == '-' || '0' <= text[0] && text[0] <= '9') && text[len(text)-1] > ' ' && text.IsValid() {
			return text
		}
	case kindNull, kindBoolean, kindObject, kindArray:
	}
	return nil
}

// name returns an unquoted name, without a copy where it needs none.
func (d *Decoder) name(quoted Value) []byte {
	inner := quoted[1 : len(quoted)-1]
	if plain(inner) {
		return inner
	}
	name, err := jsontext.AppendUnquote(nil, []byte(quoted))
	if err != nil {
		d.notes.addMember(name, "the name is not valid Unicode")
	}
	return name
}

func (d *Decoder) unquote(quoted Value) string {
	inner := quoted[1 : len(quoted)-1]
	if plain(inner) {
		return string(inner)
	}
	text, err := jsontext.AppendUnquote(nil, []byte(quoted))
	if err != nil {
		d.notes.add("not valid Unicode, replaced where it is not")
	}
	return string(text)
}

// plain reports whether the inside of a string stands for itself.
func plain(inner []byte) bool {
	return bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner)
}
