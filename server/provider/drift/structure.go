package drift

import (
	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/types/known/structpb"
)

// Value returns a held member as it is; nil if it is nil or does not fit.
func (d *Decoder) Value(name string, value Value) *structpb.Value {
	if value == nil {
		return nil
	}
	d.notes.enter([]byte(name))
	defer d.notes.leave()
	return d.any(value)
}

func (d *Decoder) structure(value Value) *structpb.Struct {
	switch k := kindOf(value); k {
	case kindObject:
		return d.fields(value)
	case kindString:
		text := jsontext.Value(d.unquote(value))
		object, err := checkObject(text)
		if err != nil {
			d.mismatch(kindObject, k)
			return nil
		}
		d.coerced(kindObject, k)
		return d.fields(object)
	case kindNull, kindBoolean, kindNumber, kindArray:
		d.mismatch(kindObject, k)
	}
	return nil
}

// fields returns nil if the object is nested too deep.
func (d *Decoder) fields(object Value) *structpb.Struct {
	if !d.nest() {
		return nil
	}
	defer d.unnest()
	s := &structpb.Struct{Fields: make(map[string]*structpb.Value)}
	for quoted, value := range object.members() {
		if !d.node() {
			break
		}
		name := d.name(quoted)
		if _, twice := s.Fields[string(name)]; twice {
			d.notes.addMember(name, "given more than once, the last counts")
			delete(s.Fields, string(name))
		}
		d.notes.enter(name)
		if v := d.any(value); v != nil {
			s.Fields[string(name)] = v
		}
		d.notes.leave()
	}
	return s
}

// any returns nil for what does not fit.
func (d *Decoder) any(value Value) *structpb.Value {
	switch kindOf(value) {
	case kindNull:
		return structpb.NewNullValue()
	case kindBoolean:
		return structpb.NewBoolValue(value[0] == 't')
	case kindString:
		return structpb.NewStringValue(d.unquote(value))
	case kindNumber:
		if f, ok := d.float(value); ok {
			return structpb.NewNumberValue(f)
		}
	case kindObject:
		if s := d.fields(value); s != nil {
			return structpb.NewStructValue(s)
		}
	case kindArray:
		if l := d.array(value); l != nil {
			return structpb.NewListValue(l)
		}
	}
	return nil
}

func (d *Decoder) array(value Value) *structpb.ListValue {
	if !d.nest() {
		return nil
	}
	defer d.unnest()
	list, i := &structpb.ListValue{}, 0
	for element := range value.elements() {
		if !d.node() {
			break
		}
		d.notes.enterElement(i)
		if v := d.any(element); v != nil {
			list.Values = append(list.Values, v)
		}
		d.notes.leave()
		i++
	}
	return list
}
