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
//	0      version of the record
//	1      flags
//	2:4    event type
//	4:6    length of the client id
//	6:7    provider
//	7:8    verdict of the verification
//	8:16   receive time, Unix nanoseconds
//	16:24  sum of the sizes of all values of the log up to and including this one
//	24:28  length of the metadata section
//	28:32  length of the payload section
//	32:40  ordering group, 0 for none
//	40:42  length of the subject
//	42:44  length of the provider's event id
//	44:52  as 16:24, of those alone that failed verification
//	52:60  epoch
//	60:    client id, subject, provider's event id, metadata, payload, raw body with headers
//
// Numbers are little-endian. This layout is kept: one that differs in anything has
// another version, and testdata has an example of each.
const (
	recordVersion = 2
	headerLen     = 60

	flagConflict = 1 << 0
)

// Numbers of the fields of webhookgateway.v1.Event that are written by hand.
const (
	fieldID          = 1
	fieldCursor      = 2
	fieldReceiveTime = 3
	fieldConflict    = 9
)

// The longest texts that a record is found by, in bytes.
const (
	MaxClientIDLen        = 255
	MaxSubjectLen         = 1024
	MaxProviderEventIDLen = 1024
)

// Entry is an event to append.
type Entry struct {
	// Provider of the event.
	Provider webhookgatewayv1.Provider
	// ClientID is the client that the event belongs to.
	ClientID string
	// Verdict of the verification. Events with different verdicts are neither
	// duplicates of each other nor conflicts.
	Verdict webhookgatewayv1.VerificationVerdict
	// ProviderEventID is the provider's id of the event, unique within the client.
	// Empty: the provider sends none, and the event is never taken for a duplicate.
	ProviderEventID string
	// BodyHash tells bodies with the same id of the provider apart.
	BodyHash [16]byte

	value []byte
}

// NewEntry encodes an event for appending. What the log decides is left empty:
// id, cursor, receive time, conflict mark. The raw body and the headers are part
// of the event.
func NewEntry(event *webhookgatewayv1.Event) (Entry, error) {
	entry := Entry{
		Provider:        event.GetProvider(),
		ClientID:        event.GetClientId(),
		Verdict:         event.GetVerification().GetVerdict(),
		ProviderEventID: event.GetProviderEventId(),
	}
	subject, id := event.GetSubject(), event.GetProviderEventId()
	for _, text := range []struct {
		what, value string
		limit       int
	}{
		{"client id", entry.ClientID, MaxClientIDLen},
		{"subject", subject, MaxSubjectLen},
		{"provider's event id", id, MaxProviderEventIDLen},
	} {
		if len(text.value) > text.limit {
			return Entry{}, fmt.Errorf("%s of %d bytes: at most %d are supported", text.what, len(text.value), text.limit)
		}
	}
	if id != "" {
		sum := sha256.Sum256(event.GetRawBody())
		copy(entry.BodyHash[:], sum[:])
	}

	payload := &webhookgatewayv1.Event{Payload: event.Payload}
	metadata := &webhookgatewayv1.Event{
		Provider:        event.Provider,
		Type:            event.Type,
		TypeName:        event.TypeName,
		ClientId:        event.ClientId,
		Verification:    event.Verification,
		DecodeError:     event.DecodeError,
		Subject:         subject,
		ProviderEventId: id,
		TraceContext:    event.TraceContext,
	}
	raw := &webhookgatewayv1.Event{RawBody: event.RawBody, Headers: event.Headers}
	opts := proto.MarshalOptions{}
	size := headerLen + len(entry.ClientID) + len(subject) + len(id) + opts.Size(metadata) + opts.Size(payload) + opts.Size(raw)
	if size > math.MaxInt32 {
		return Entry{}, fmt.Errorf("event of %d bytes is too large to store", size)
	}
	opts.UseCachedSize = true

	v := make([]byte, headerLen, size)
	v = append(append(append(v, entry.ClientID...), subject...), id...)
	var ends [3]int
	for i, section := range []*webhookgatewayv1.Event{metadata, payload, raw} {
		ends[i] = len(v)
		var err error
		if v, err = opts.MarshalAppend(v, section); err != nil {
			return Entry{}, fmt.Errorf("encode the event: %w", err)
		}
	}

	v[0] = recordVersion
	binary.LittleEndian.PutUint16(v[2:], uint16(event.GetType()))     //nolint:gosec // enum values are small
	binary.LittleEndian.PutUint16(v[4:], uint16(len(entry.ClientID))) //nolint:gosec // bounded above
	v[6] = byte(event.GetProvider())                                  //nolint:gosec // enum values are small
	v[7] = byte(entry.Verdict)                                        //nolint:gosec // enum values are small
	binary.LittleEndian.PutUint32(v[24:], uint32(ends[1]-ends[0]))    //nolint:gosec // bounded above
	binary.LittleEndian.PutUint32(v[28:], uint32(ends[2]-ends[1]))    //nolint:gosec // bounded above
	binary.LittleEndian.PutUint64(v[32:], orderingGroup(entry.Provider, entry.ClientID, subject))
	binary.LittleEndian.PutUint16(v[40:], uint16(len(subject))) //nolint:gosec // bounded above
	binary.LittleEndian.PutUint16(v[42:], uint16(len(id)))      //nolint:gosec // bounded above
	entry.value = v
	return entry, nil
}

// orderingGroup returns a hash that is never 0 for a subject, and never changes:
// it is stored. Two subjects with the same hash share a group, which does no harm.
func orderingGroup(provider webhookgatewayv1.Provider, clientID, subject string) uint64 {
	if subject == "" {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte{byte(provider), byte(len(clientID))}) //nolint:gosec // at most MaxClientIDLen
	_, _ = h.Write([]byte(clientID))
	_, _ = h.Write([]byte(subject))
	return max(h.Sum64(), 1)
}

// Size returns the size of the stored value in bytes.
func (e Entry) Size() int { return len(e.value) }

// Complete completes the stored value with what the engine decides, and returns
// it. For engines only; called once per stored entry, by one goroutine.
// The totals include this entry, see Totals.Plus; epoch is that of its position.
func (e Entry) Complete(receiveTime time.Time, totals Totals, conflict bool, epoch Epoch) []byte {
	if conflict {
		e.value[1] |= flagConflict
	}
	binary.LittleEndian.PutUint64(e.value[8:], uint64(receiveTime.UnixNano()))
	binary.LittleEndian.PutUint64(e.value[16:], totals.Bytes)
	binary.LittleEndian.PutUint64(e.value[44:], totals.FailedBytes)
	binary.LittleEndian.PutUint64(e.value[52:], uint64(epoch))
	return e.value
}

// Totals are sums over all events of the log up to and including one, trimmed ones
// too. So the difference of two is what is between them.
type Totals struct {
	// Bytes is the sum of the sizes of all values.
	Bytes uint64
	// FailedBytes is the sum of those of the events that failed verification.
	FailedBytes uint64
}

// Plus returns the totals with one more entry.
func (t Totals) Plus(e Entry) Totals {
	return t.plus(e.Size(), e.Verdict)
}

func (t Totals) plus(size int, verdict webhookgatewayv1.VerificationVerdict) Totals {
	t.Bytes += uint64(size) //nolint:gosec // not negative
	if verdict == webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED {
		t.FailedBytes += uint64(size) //nolint:gosec // not negative
	}
	return t
}

// Minus returns the totals of what comes after others.
func (t Totals) Minus(others Totals) Totals {
	return Totals{Bytes: t.Bytes - others.Bytes, FailedBytes: t.FailedBytes - others.FailedBytes}
}

// OthersBytes returns the sum of the sizes of the events that did not fail
// verification.
func (t Totals) OthersBytes() uint64 { return t.Bytes - t.FailedBytes }

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
// Record from failing: the sections themselves are not looked into.
func ParseRecord(position Position, value []byte, live bool) (Record, error) {
	if len(value) < headerLen {
		return Record{}, errors.New("stored event is truncated")
	}
	if value[0] != recordVersion {
		return Record{}, fmt.Errorf("stored event has record version %d and this gateway reads version %d: use the version of the gateway that wrote it", value[0], recordVersion)
	}
	// NOTE: in 64 bits, where the sum of what the header says cannot overflow.
	end := uint64(headerLen)
	for _, at := range []int{4, 40, 42} {
		end += uint64(binary.LittleEndian.Uint16(value[at:]))
	}
	for _, at := range []int{24, 28} {
		end += uint64(binary.LittleEndian.Uint32(value[at:]))
	}
	if end > uint64(len(value)) {
		return Record{}, errors.New("stored event is truncated")
	}
	return Record{Position: position, Live: live, value: value}, nil
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

// Subject returns whom the event is about, empty for nobody. The bytes are the
// record's.
func (r Record) Subject() []byte { return r.value[r.clientEnd():r.subjectEnd()] }

// ProviderEventID returns the provider's id of the event, empty for none. The
// bytes are the record's.
func (r Record) ProviderEventID() []byte { return r.value[r.subjectEnd():r.idEnd()] }

// Verdict returns the verdict of the verification of the event.
func (r Record) Verdict() webhookgatewayv1.VerificationVerdict {
	return webhookgatewayv1.VerificationVerdict(r.value[7])
}

// Value returns the stored value. It must not be changed, and is valid as long as
// the record.
func (r Record) Value() []byte { return r.value }

// ReceiveTime returns when the event was stored.
func (r Record) ReceiveTime() time.Time {
	return time.Unix(0, int64(binary.LittleEndian.Uint64(r.value[8:]))) //nolint:gosec // written from an int64
}

// Totals returns the sums up to and including this event.
func (r Record) Totals() Totals {
	return Totals{Bytes: binary.LittleEndian.Uint64(r.value[16:]), FailedBytes: binary.LittleEndian.Uint64(r.value[44:])}
}

// Sizes returns what this event alone adds to the totals.
func (r Record) Sizes() Totals { return Totals{}.plus(r.Size(), r.Verdict()) }

// Epoch returns the epoch that the event was stored in.
func (r Record) Epoch() Epoch { return Epoch(binary.LittleEndian.Uint64(r.value[52:])) }

// OrderingGroup returns the group of events that the event is in order with, those
// of its subject; 0 if it has none.
func (r Record) OrderingGroup() uint64 { return binary.LittleEndian.Uint64(r.value[32:]) }

// Check looks into the sections: whether they are what an event is encoded as.
// ParseRecord does not, since it would cost every reader.
func (r Record) Check() error {
	for b := r.value[r.idEnd():]; len(b) > 0; {
		_, _, n := protowire.ConsumeField(b)
		if n < 0 {
			return fmt.Errorf("the fields of the stored event are malformed: %w", protowire.ParseError(n))
		}
		b = b[n:]
	}
	return nil
}

// Size returns the size of the stored value in bytes.
func (r Record) Size() int { return len(r.value) }

// Conflict reports whether another body with the same event id was stored before.
func (r Record) Conflict() bool { return r.value[1]&flagConflict != 0 }

func (r Record) clientEnd() int {
	return headerLen + int(binary.LittleEndian.Uint16(r.value[4:]))
}

func (r Record) subjectEnd() int {
	return r.clientEnd() + int(binary.LittleEndian.Uint16(r.value[40:]))
}

// idEnd is where the metadata section begins.
func (r Record) idEnd() int {
	return r.subjectEnd() + int(binary.LittleEndian.Uint16(r.value[42:]))
}

func (r Record) metadataEnd() int {
	return r.idEnd() + int(binary.LittleEndian.Uint32(r.value[24:]))
}

func (r Record) payloadEnd() int {
	return r.metadataEnd() + int(binary.LittleEndian.Uint32(r.value[28:]))
}

// MaxEventOverhead is the most that AppendEvent adds to Size.
const MaxEventOverhead = 2*(2+tokenLen) + 2 + 2*11 + 2

// AppendEvent appends the event, encoded as a webhookgateway.v1.Event, as the
// view shows it. The history is that of the log that the record was read from,
// taken after the record was.
func (r Record) AppendEvent(b []byte, history *History, view webhookgatewayv1.EventView) []byte {
	epoch := history.EpochAt(r.Position)
	b = protowire.AppendTag(b, fieldID, protowire.BytesType)
	b = append(b, tokenLen)
	b = appendToken(b, kindEvent, history.log, epoch, r.Position)
	b = protowire.AppendTag(b, fieldCursor, protowire.BytesType)
	b = append(b, tokenLen)
	b = appendToken(b, kindCursor, history.log, epoch, r.Position)
	b = AppendTimestamp(b, fieldReceiveTime, r.ReceiveTime())
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
	return append(b, r.value[r.idEnd():end]...)
}

// Event decodes the event as the view shows it; see AppendEvent.
func (r Record) Event(history *History, view webhookgatewayv1.EventView) (*webhookgatewayv1.Event, error) {
	event := &webhookgatewayv1.Event{}
	if err := proto.Unmarshal(r.AppendEvent(nil, history, view), event); err != nil {
		return nil, fmt.Errorf("decode stored event %d: %w", r.Position, err)
	}
	return event, nil
}

// Entry returns what a retry of an event would append.
func (r Record) Entry(history *History) (Entry, error) {
	event, err := r.Event(history, webhookgatewayv1.EventView_EVENT_VIEW_RAW)
	if err != nil {
		return Entry{}, err
	}
	return NewEntry(event)
}
