package eventlog

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// AppendTimestamp appends a field that is a google.protobuf.Timestamp. The time is
// not before 1970, and the number of the field is below 16.
func AppendTimestamp(b []byte, field protowire.Number, t time.Time) []byte {
	seconds, fraction := uint64(t.Unix()), uint64(t.Nanosecond()) //nolint:gosec // after 1970
	b = protowire.AppendTag(b, field, protowire.BytesType)
	b = append(b, byte(2+protowire.SizeVarint(seconds)+protowire.SizeVarint(fraction))) //nolint:gosec // at most 22
	b = protowire.AppendTag(b, 1, protowire.VarintType)
	b = protowire.AppendVarint(b, seconds)
	b = protowire.AppendTag(b, 2, protowire.VarintType)
	return protowire.AppendVarint(b, fraction)
}
