package redact

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/webhook-gateway/webhook-gateway/server/provider/drift"
)

// Mask masks the classes of a set. It never changes. Nil masks nothing.
type Mask struct {
	event  *message
	words  map[string]bool
	masked []byte // the encoded field Event.masked
}

// MaxOverhead is the most bytes that Apply adds.
const MaxOverhead = 2 + 32

// Apply masks an encoded webhookgateway.v1.Event in place, and returns it: it may be
// longer by MaxOverhead, beyond the end of what it was given. Fields that the gateway does
// not know are left out, and so is what is malformed. Applied again it changes nothing.
//
// NOTE: it writes over the event. The bytes of a record are shared: copy them first, as
// Record.AppendEvent does.
func (m *Mask) Apply(event []byte) []byte {
	if m == nil {
		return event
	}
	out := m.fields(event[:0], event, m.event)
	return append(out, m.masked...)
}

// fields appends what is left of the fields of a message to out, which may be over the
// bytes before them: it never grows faster than in is read.
func (m *Mask) fields(out, in []byte, rules *message) []byte {
	kept, at := 0, 0 // what is between is to be appended
	for at < len(in) {
		number, wire, tagLen := protowire.ConsumeTag(in[at:])
		if tagLen < 0 {
			break
		}
		value := in[at+tagLen:]
		valueLen := protowire.ConsumeFieldValue(number, wire, value)
		if valueLen < 0 {
			break
		}
		value = value[:valueLen]
		r := rules.of(number, wire)
		if r.action != keep {
			out = append(out, in[kept:at]...)
			kept = at + tagLen + valueLen
		}
		switch r.action {
		case drop, keep:
		case descend:
			content, _ := protowire.ConsumeBytes(value)
			out = append(out, in[at:at+tagLen]...)
			out = m.sized(out, len(value)-len(content), content, r.message)
		case rename:
			text, _ := protowire.ConsumeString(value) // a copy
			out = append(out, in[at:at+tagLen]...)
			out = protowire.AppendString(out, drift.WithoutNames(text, func(name string) bool { return m.words[name] }))
		}
		at += tagLen + valueLen
	}
	return append(out, in[kept:at]...)
}

// sized appends what is left of a message with its length in front, for which as many
// bytes are reserved as it had.
func (m *Mask) sized(out []byte, reserved int, content []byte, rules *message) []byte {
	start := len(out)
	begin := start + reserved
	left := m.fields(out[:begin], content, rules)
	length := len(left) - begin
	out = protowire.AppendVarint(out, uint64(length)) //nolint:gosec // not negative
	return append(out, left[begin:]...)
}
