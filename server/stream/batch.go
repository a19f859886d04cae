package stream

import (
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/redact"
)

// Numbers of the fields that are written by hand.
const (
	// SubscribeResponse.events and ConsumeResponse.deliveries.
	fieldFrameBatch = 2
	// EventBatch.events and DeliveryBatch.deliveries.
	fieldBatchItem = 1
	// EventBatch.after_cursor.
	fieldAfterCursor = 2
	// Delivery.event, Delivery.attempt, Delivery.ack_token, Delivery.deadline.
	fieldDeliveryEvent    = 1
	fieldDeliveryAttempt  = 2
	fieldDeliveryAckToken = 3
	fieldDeliveryDeadline = 4
)

const (
	// framePrefix is room in front of the events for the tag and the length of the
	// batch.
	framePrefix = 1 + 5
	// batchTarget is when a batch is full.
	batchTarget = 96 << 10
	// largeEvent is the largest event that still fits into the buffer of a batch that
	// is not full. A larger one is the first of its batch, and smaller ones follow it
	// until that batch is full: at once, if the event is larger than batchTarget.
	largeEvent = largeBuffer - batchTarget - 1<<10
)

// A Batch collects encoded events, or deliveries, for one frame.
type Batch struct {
	view    webhookgatewayv1.EventView
	maskOf  func(eventlog.Record) *redact.Mask // nil: none
	buffers *bufferPool

	buf    *[]byte // framePrefix, then the items; nil without items
	count  int
	oldest time.Time // when the first event was received that is new to its readers; zero without one
	trace  []byte    // the id of its trace, if it is live and a part of one
}

// Batch returns an empty batch of a stream with a view.
func (s *Streams) Batch(view webhookgatewayv1.EventView) *Batch {
	return &Batch{view: view, buffers: s.buffers}
}

// MaskBy has a function say how the event of each record is masked from now on; see
// redact.Mask.
func (b *Batch) MaskBy(maskOf func(eventlog.Record) *redact.Mask) { b.maskOf = maskOf }

// Len returns the number of items collected.
func (b *Batch) Len() int { return b.count }

// Full reports whether a record has to go into another batch.
func (b *Batch) Full(r eventlog.Record) bool {
	return b.count > 0 && (len(*b.buf) >= batchTarget || r.Size() > largeEvent)
}

// Add appends the event of a record. The history MUST be taken after the record was
// read: it may have gone on meanwhile. last tells that no other is at hand.
func (b *Batch) Add(r eventlog.Record, history *eventlog.History, last bool) {
	maxLen := r.Size() + maxEventOverhead
	b.reserve(maxLen, last)
	buf := protowire.AppendTag(*b.buf, fieldBatchItem, protowire.BytesType)
	*b.buf = b.appendEvent(buf, maxLen, r, history)
	b.count++
	b.isNew(r)
}

// maxEventOverhead is the most that appendEvent adds to the size of a record, beside the
// length.
const maxEventOverhead = eventlog.MaxEventOverhead + redact.MaxOverhead

// appendEvent appends the event of a record with its length in front.
func (b *Batch) appendEvent(buf []byte, maxLen int, r eventlog.Record, history *eventlog.History) []byte {
	return appendSized(buf, maxLen, func(buf []byte) []byte {
		start := len(buf)
		buf = r.AppendEvent(buf, history, b.view)
		if b.maskOf == nil {
			return buf
		}
		masked := b.maskOf(r).Apply(buf[start:])
		return append(buf[:start], masked...)
	})
}

// maxDeliveryOverhead is the most that a delivery adds to its event, beside the
// token.
const maxDeliveryOverhead = 64

// Delivery is what a worker is told beside the event.
type Delivery struct {
	Attempt int
	// First: nobody was given the event before.
	First    bool
	AckToken []byte
	Deadline time.Time
}

// AddDelivery appends a delivery of the event of a record. For the rest it is like
// Add.
func (b *Batch) AddDelivery(r eventlog.Record, history *eventlog.History, d Delivery, last bool) {
	eventLen := r.Size() + maxEventOverhead
	maxLen := eventLen + len(d.AckToken) + maxDeliveryOverhead
	b.reserve(maxLen, last)
	buf := protowire.AppendTag(*b.buf, fieldBatchItem, protowire.BytesType)
	buf = appendSized(buf, maxLen, func(buf []byte) []byte {
		buf = protowire.AppendTag(buf, fieldDeliveryEvent, protowire.BytesType)
		buf = b.appendEvent(buf, eventLen, r, history)
		buf = protowire.AppendTag(buf, fieldDeliveryAttempt, protowire.VarintType)
		buf = protowire.AppendVarint(buf, uint64(d.Attempt)) //nolint:gosec // positive
		buf = protowire.AppendTag(buf, fieldDeliveryAckToken, protowire.BytesType)
		buf = protowire.AppendBytes(buf, d.AckToken)
		return eventlog.AppendTimestamp(buf, fieldDeliveryDeadline, d.Deadline)
	})
	*b.buf = buf
	b.count++
	if d.First && r.Live {
		b.isNew(r)
	}
}

// isNew takes note of an event that its readers get for the first time.
func (b *Batch) isNew(r eventlog.Record) {
	if !b.oldest.IsZero() {
		return
	}
	b.oldest = r.ReceiveTime()
	if r.Live {
		b.trace = r.TraceID()
	}
}

// After tells where the stream was before the batch. It comes after all events.
func (b *Batch) After(cursor string) {
	*b.buf = protowire.AppendString(protowire.AppendTag(*b.buf, fieldAfterCursor, protowire.BytesType), cursor)
}

// reserve makes sure that there is a buffer.
func (b *Batch) reserve(maxLen int, last bool) {
	if b.buf != nil {
		return
	}
	size := largeBuffer
	if last && framePrefix+2*(1+5)+maxLen+maxAfterLen <= smallBuffer {
		size = smallBuffer
	}
	b.buf = b.buffers.Get(size)
	*b.buf = (*b.buf)[:framePrefix]
}

// maxAfterLen is the most that After appends.
const maxAfterLen = 2 + 64

// appendSized appends what a function appends, with its length in front. The
// length is known only afterwards. How many bytes the length takes is nearly
// always known, though.
func appendSized(buf []byte, maxLen int, add func([]byte) []byte) []byte {
	start := len(buf)
	reserved := protowire.SizeVarint(uint64(maxLen)) //nolint:gosec // not negative
	buf = add(append(buf, make([]byte, reserved)...))
	length := len(buf) - start - reserved
	if needed := protowire.SizeVarint(uint64(length)); needed < reserved { //nolint:gosec // not negative
		copy(buf[start+needed:], buf[start+reserved:])
		buf = buf[:start+needed+length]
	}
	protowire.AppendVarint(buf[:start], uint64(length)) //nolint:gosec // not negative
	return buf
}

// take returns the batch as a frame, with its size, and empties it.
func (b *Batch) take() (frame *Encoded, size int) {
	buf := *b.buf
	length := uint64(len(buf) - framePrefix) //nolint:gosec // not negative
	start := framePrefix - 1 - protowire.SizeVarint(length)
	prefix := protowire.AppendTag(buf[:start], fieldFrameBatch, protowire.BytesType)
	protowire.AppendVarint(prefix, length)

	whole := mem.NewBuffer(b.buf, b.buffers)
	part := whole.Slice(start, len(buf))
	whole.Free() // part holds it
	b.buf, b.count, b.oldest, b.trace = nil, 0, time.Time{}, nil
	return &Encoded{data: mem.BufferSlice{part}}, len(buf) - start
}
