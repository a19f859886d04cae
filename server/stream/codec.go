package stream

import (
	"fmt"
	"sync"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Codec is the codec of the gRPC server. It lets frames that are encoded already
// pass, and leaves every other message to the standard protobuf codec, whose
// name and wire format it has: clients need nothing.
type Codec struct{}

var _ encoding.CodecV2 = Codec{}

// Encoded is a frame in its wire format. It is sent once.
type Encoded struct{ data mem.BufferSlice }

// Marshal implements encoding.CodecV2.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	frame, ok := v.(*Encoded)
	if !ok {
		return encoding.GetCodecV2(proto.Name).Marshal(v)
	}
	if frame.data == nil {
		return nil, fmt.Errorf("%T was sent before", v)
	}
	// gRPC frees the buffers when they are written, or when they cannot be.
	data := frame.data
	frame.data = nil
	return data, nil
}

// Unmarshal implements encoding.CodecV2.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	return encoding.GetCodecV2(proto.Name).Unmarshal(data, v)
}

// Name implements encoding.CodecV2.
func (Codec) Name() string { return proto.Name }

// The sizes of the buffers of frames: one event or a few at low rates, and what
// is read from history.
const (
	smallBuffer = 4 << 10
	largeBuffer = 128 << 10
)

// bufferPool keeps buffers for reuse. gRPC's own pool rounds a frame up to 1 MiB
// and clears a buffer before it gives it out.
type bufferPool struct{ small, large sync.Pool }

var _ mem.BufferPool = (*bufferPool)(nil)

func newBufferPool() *bufferPool {
	create := func(size int) func() any {
		return func() any {
			b := make([]byte, 0, size)
			return &b
		}
	}
	return &bufferPool{small: sync.Pool{New: create(smallBuffer)}, large: sync.Pool{New: create(largeBuffer)}}
}

// Get implements mem.BufferPool. The content of the buffer is undefined.
func (p *bufferPool) Get(length int) *[]byte {
	var b *[]byte
	switch {
	case length <= smallBuffer:
		b = p.small.Get().(*[]byte)
	case length <= largeBuffer:
		b = p.large.Get().(*[]byte)
	default:
		b = new([]byte)
		*b = make([]byte, length)
	}
	*b = (*b)[:length]
	return b
}

// Put implements mem.BufferPool.
func (p *bufferPool) Put(b *[]byte) {
	switch cap(*b) {
	case smallBuffer:
		p.small.Put(b)
	case largeBuffer:
		p.large.Put(b)
	default: // larger than is worth keeping
	}
}
