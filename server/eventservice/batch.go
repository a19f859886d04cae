package eventservice

import (
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// Numbers of the fields that are written by hand.
const (
	fieldFrameEvents = 2 // SubscribeResponse.events
	fieldBatchEvents = 1 // EventBatch.events
)

const (
	// framePrefix is room in front of the events for the tag and the length of the
	// batch.
	framePrefix = 1 + 5
	// batchTarget is when a batch is full.
	batchTarget = 96 << 10
	// largeEvent is the size of an event that is sent alone: any smaller one still
	// fits into the buffer of a batch that is not full.
	largeEvent = largeBuffer - batchTarget - 1<<10
)

// batch collects encoded events for one frame. The zero batch is empty.
type batch struct {
	buf    *[]byte // framePrefix, then the events; nil without events
	count  int
	oldest time.Time // when the first event was received
}

// full says whether a record has to go into another batch.
func (b *batch) full(r eventlog.Record) bool {
	return b.count > 0 && (len(*b.buf) >= batchTarget || r.Size() > largeEvent)
}

// add appends the event of a record, and extra fields of it that are encoded
// already. last says that no other is at hand.
func (b *batch) add(r eventlog.Record, log eventlog.ID, view webhookgatewayv1.EventView, last bool, extra []byte, buffers *bufferPool) {
	maxLen := r.Size() + eventlog.MaxEventOverhead + len(extra)
	if b.buf == nil {
		size := largeBuffer
		if last && framePrefix+1+5+maxLen <= smallBuffer {
			size = smallBuffer
		}
		b.buf = buffers.Get(size)
		*b.buf = (*b.buf)[:framePrefix]
		b.oldest = r.ReceiveTime()
	}
	buf := protowire.AppendTag(*b.buf, fieldBatchEvents, protowire.BytesType)
	// The length goes in front of the event and is known only behind it. How many
	// bytes the length takes is nearly always known, though.
	start := len(buf)
	reserved := protowire.SizeVarint(uint64(maxLen)) //nolint:gosec // not negative
	buf = append(buf, make([]byte, reserved)...)
	buf = append(r.AppendEvent(buf, log, view), extra...)
	length := len(buf) - start - reserved
	if needed := protowire.SizeVarint(uint64(length)); needed < reserved { //nolint:gosec // not negative
		copy(buf[start+needed:], buf[start+reserved:])
		buf = buf[:start+needed+length]
	}
	protowire.AppendVarint(buf[:start], uint64(length)) //nolint:gosec // not negative
	*b.buf = buf
	b.count++
}

// take returns the batch as a frame, with its size, and empties it.
func (b *batch) take(buffers *bufferPool) (frame *encodedFrame, size int) {
	buf := *b.buf
	length := uint64(len(buf) - framePrefix) //nolint:gosec // not negative
	start := framePrefix - 1 - protowire.SizeVarint(length)
	prefix := protowire.AppendTag(buf[:start], fieldFrameEvents, protowire.BytesType)
	protowire.AppendVarint(prefix, length)

	whole := mem.NewBuffer(b.buf, buffers)
	part := whole.Slice(start, len(buf))
	whole.Free() // part holds it
	*b = batch{}
	return &encodedFrame{data: mem.BufferSlice{part}}, len(buf) - start
}
