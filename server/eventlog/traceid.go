package eventlog

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of the fields that TraceID looks for: Event.trace_context, and
// TraceContext.traceparent.
const (
	fieldTraceContext = 13
	fieldTraceparent  = 1
)

// TraceID returns the id of the trace that the event is a part of, in hex; nil if it is
// a part of none, or of one that is not recorded. The bytes are the record's.
func (r Record) TraceID() []byte {
	const length = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	parent := bytesField(bytesField(r.value[r.idEnd():r.metadataEnd()], fieldTraceContext), fieldTraceparent)
	if len(parent) != length || !bytes.ContainsAny(parent[length-1:], "13579bdf") { // the last bit: recorded
		return nil
	}
	id := parent[3 : 3+32]
	if len(bytes.Trim(id, "0123456789abcdef")) > 0 {
		return nil // damaged
	}
	return id
}

// bytesField returns the first field with a number, nil if there is none.
func bytesField(b []byte, number protowire.Number) []byte {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil
		}
		b = b[n:]
		if num == number && typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(b) // nil if it is malformed
			return value
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return nil
		}
		b = b[n:]
	}
	return nil
}
