package eventlog

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// A stored value is a header, then the event as protobuf fields in three
// sections: metadata, typed payload, raw body. A view of an event is a prefix of
// the sections, so that a subscriber is served without decoding anything. What
// is known only when the event is committed (position, time, conflict) is not in
// the sections: the reader adds it in front (see Record.AppendEvent).
//
//	0      layout version
//	1      flags
//	2:4    event type
//	4:6    length of the client id
//	6:7    provider
//	8:16   receive time, Unix nanoseconds
//	16:24  sum of the sizes of all values of the log up to and including this one
//	24:28  length of the metadata section
//	28:32  length of the payload section
//	32:40  ordering group, 0 for none
//	40:    client id, metadata, payload, raw body
const (
	layoutVersion = 1
	headerLen     = 40

	flagConflict = 1 << 0
)

// Numbers of the fields of webhookgateway.v1.Event that are written by hand.
const (
	fieldID          = 1
	fieldCursor      = 2
	fieldReceiveTime = 3
	fieldConflict    = 9
	fieldRawBody     = 30
)

// MaxClientIDLen is the longest client id, in bytes.
const MaxClientIDLen = 255

// Entry is an event to append.
type Entry struct {
	// Provider of the event.
	Provider webhookgatewayv1.Provider
	// ClientID is the client that the event belongs to.
	ClientID string
	// EventID is the provider's id of the event, unique within the client. Empty:
	// the provider sends none, and the event is never taken for a duplicate.
	EventID string
	// BodyHash tells bodies with the same event id apart.
	BodyHash [16]byte

	value []byte
}

// NewEntry encodes an event for appending. The event has its provider, type,
// client id, verification and payload; its id, cursor, receive time, conflict
// mark and raw body are left empty.
func NewEntry(event *webhookgatewayv1.Event, eventID string, rawBody []byte) (Entry, error) {
	entry := Entry{Provider: event.GetProvider(), ClientID: event.GetClientId(), EventID: eventID}
	if len(entry.ClientID) > MaxClientIDLen {
		return Entry{}, fmt.Errorf("client id of %d bytes: at most %d are supported", len(entry.ClientID), MaxClientIDLen)
	}
	if eventID != "" {
		sum := sha256.Sum256(rawBody)
		copy(entry.BodyHash[:], sum[:])
	}

	payload := &webhookgatewayv1.Event{Payload: event.Payload}
	metadata := &webhookgatewayv1.Event{
		Provider:     event.Provider,
		Type:         event.Type,
		TypeName:     event.TypeName,
		ClientId:     event.ClientId,
		Verification: event.Verification,
		DecodeError:  event.DecodeError,
	}
	opts := proto.MarshalOptions{}
	size := headerLen + len(entry.ClientID) + opts.Size(metadata) + opts.Size(payload) +
		protowire.SizeTag(fieldRawBody) + protowire.SizeBytes(len(rawBody))
	if size > math.MaxInt32 {
		return Entry{}, fmt.Errorf("event of %d bytes is too large to store", size)
	}
	opts.UseCachedSize = true

	v := make([]byte, headerLen, size)
	v = append(v, entry.ClientID...)
	start := len(v)
	v, err := opts.MarshalAppend(v, metadata)
	if err != nil {
		return Entry{}, fmt.Errorf("encode event metadata: %w", err)
	}
	metadataEnd := len(v)
	v, err = opts.MarshalAppend(v, payload)
	if err != nil {
		return Entry{}, fmt.Errorf("encode event payload: %w", err)
	}
	payloadEnd := len(v)
	v = protowire.AppendTag(v, fieldRawBody, protowire.BytesType)
	v = protowire.AppendBytes(v, rawBody)

	v[0] = layoutVersion
	binary.LittleEndian.PutUint16(v[2:], uint16(event.GetType()))         //nolint:gosec // enum values are small
	binary.LittleEndian.PutUint16(v[4:], uint16(len(entry.ClientID)))     //nolint:gosec // bounded above
	v[6] = byte(event.GetProvider())                                      //nolint:gosec // enum values are small
	binary.LittleEndian.PutUint32(v[24:], uint32(metadataEnd-start))      //nolint:gosec // bounded above
	binary.LittleEndian.PutUint32(v[28:], uint32(payloadEnd-metadataEnd)) //nolint:gosec // bounded above
	entry.value = v
	return entry, nil
}

// OrderBy puts the event into the ordering group of a key, such as the customer
// that it is about, within its provider and client. An empty key is no group.
func (e Entry) OrderBy(key string) {
	binary.LittleEndian.PutUint64(e.value[32:], orderingGroup(e.Provider, e.ClientID, key))
}

// orderingGroup returns a hash that is never 0 for a key, and never changes: it
// is stored. Two keys with the same hash share a group, which does no harm.
func orderingGroup(provider webhookgatewayv1.Provider, clientID, key string) uint64 {
	if key == "" {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte{byte(provider), byte(len(clientID))}) //nolint:gosec // at most MaxClientIDLen
	_, _ = h.Write([]byte(clientID))
	_, _ = h.Write([]byte(key))
	return max(h.Sum64(), 1)
}

// Size returns the size of the stored value in bytes.
func (e Entry) Size() int { return len(e.value) }

// Commit completes the stored value with what the engine decides, and returns
// it. For engines only; called once per stored entry, by one goroutine.
// totalBytes is the sum of the sizes of all values of the log, including this.
func (e Entry) Commit(receiveTime time.Time, totalBytes uint64, conflict bool) []byte {
	if conflict {
		e.value[1] |= flagConflict
	}
	binary.LittleEndian.PutUint64(e.value[8:], uint64(receiveTime.UnixNano()))
	binary.LittleEndian.PutUint64(e.value[16:], totalBytes)
	return e.value
}

// Record is an event as it is stored.
type Record struct {
	// Position of the event in its log.
	Position Position
	// Live says that the bytes of the record are shared and immutable, served from
	// memory; otherwise they are valid only until the next one is read.
	Live bool

	value []byte
}

// ParseRecord interprets a stored value. It checks only what keeps the methods of
// Record from failing.
func ParseRecord(position Position, value []byte, live bool) (Record, error) {
	if len(value) < headerLen {
		return Record{}, errors.New("stored event is truncated")
	}
	if value[0] != layoutVersion {
		return Record{}, fmt.Errorf("stored event has layout version %d: this gateway reads version %d", value[0], layoutVersion)
	}
	r := Record{Position: position, Live: live, value: value}
	if r.payloadEnd() > len(value) {
		return Record{}, errors.New("stored event is truncated")
	}
	return r, nil
}

// Provider returns the provider of the event.
func (r Record) Provider() webhookgatewayv1.Provider { return webhookgatewayv1.Provider(r.value[6]) }

// Type returns the type of the event.
func (r Record) Type() webhookgatewayv1.EventType {
	return webhookgatewayv1.EventType(binary.LittleEndian.Uint16(r.value[2:]))
}

// ClientID returns the client that the event belongs to. The bytes are the
// record's.
func (r Record) ClientID() []byte { return r.value[headerLen:r.clientEnd()] }

// ReceiveTime returns when the event was stored.
func (r Record) ReceiveTime() time.Time {
	return time.Unix(0, int64(binary.LittleEndian.Uint64(r.value[8:]))) //nolint:gosec // written from an int64
}

// TotalBytes returns the sum of the sizes of all values of the log up to and
// including this one, trimmed ones too.
func (r Record) TotalBytes() uint64 { return binary.LittleEndian.Uint64(r.value[16:]) }

// OrderingGroup returns the group of events of the same client that the event is
// in order with, such as those of one customer; 0 if it is in none.
func (r Record) OrderingGroup() uint64 { return binary.LittleEndian.Uint64(r.value[32:]) }

// Size returns the size of the stored value in bytes.
func (r Record) Size() int { return len(r.value) }

// Conflict says whether another body with the same event id was stored before.
func (r Record) Conflict() bool { return r.value[1]&flagConflict != 0 }

func (r Record) clientEnd() int {
	return headerLen + int(binary.LittleEndian.Uint16(r.value[4:]))
}

func (r Record) metadataEnd() int {
	return r.clientEnd() + int(binary.LittleEndian.Uint32(r.value[24:]))
}

func (r Record) payloadEnd() int {
	return r.metadataEnd() + int(binary.LittleEndian.Uint32(r.value[28:]))
}

// MaxEventOverhead is the most that AppendEvent adds to Size.
const MaxEventOverhead = 2*(2+tokenLen) + 2 + 2*11 + 2

// AppendEvent appends the event, encoded as a webhookgateway.v1.Event, as the
// view shows it. log is the log that the record was read from.
func (r Record) AppendEvent(b []byte, log ID, view webhookgatewayv1.EventView) []byte {
	b = protowire.AppendTag(b, fieldID, protowire.BytesType)
	b = append(b, tokenLen)
	b = appendToken(b, kindEvent, log, r.Position)
	b = protowire.AppendTag(b, fieldCursor, protowire.BytesType)
	b = append(b, tokenLen)
	b = appendToken(b, kindCursor, log, r.Position)

	nanos := binary.LittleEndian.Uint64(r.value[8:])
	seconds, fraction := nanos/1e9, nanos%1e9
	b = protowire.AppendTag(b, fieldReceiveTime, protowire.BytesType)
	b = append(b, byte(2+protowire.SizeVarint(seconds)+protowire.SizeVarint(fraction))) //nolint:gosec // at most 22
	b = protowire.AppendTag(b, 1, protowire.VarintType)
	b = protowire.AppendVarint(b, seconds)
	b = protowire.AppendTag(b, 2, protowire.VarintType)
	b = protowire.AppendVarint(b, fraction)

	if r.Conflict() {
		b = protowire.AppendTag(b, fieldConflict, protowire.VarintType)
		b = protowire.AppendVarint(b, 1)
	}
	end := r.payloadEnd()
	switch view {
	case webhookgatewayv1.EventView_EVENT_VIEW_METADATA:
		end = r.metadataEnd()
	case webhookgatewayv1.EventView_EVENT_VIEW_RAW:
		end = len(r.value)
	case webhookgatewayv1.EventView_EVENT_VIEW_UNSPECIFIED, webhookgatewayv1.EventView_EVENT_VIEW_FULL:
	}
	return append(b, r.value[r.clientEnd():end]...)
}

// Event decodes the event as the view shows it.
func (r Record) Event(log ID, view webhookgatewayv1.EventView) (*webhookgatewayv1.Event, error) {
	event := &webhookgatewayv1.Event{}
	if err := proto.Unmarshal(r.AppendEvent(nil, log, view), event); err != nil {
		return nil, fmt.Errorf("decode stored event %d: %w", r.Position, err)
	}
	return event, nil
}
