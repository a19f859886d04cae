package stream

import (
	"sync/atomic"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A Sender sends the frames of one stream and keeps count. It is for one goroutine; what it
// counts can be read by others.
type Sender struct {
	streams *Streams
	send    func(frame any) error
	last    time.Time

	meter    meter
	position atomic.Uint64
	caughtUp atomic.Bool
	// sentEvents and sentBytes are of all frames with events. delay is that of the newest of
	// them, noDelay before one is live.
	sentEvents, sentBytes, delay atomic.Int64
	// sendingSince is when the frame began to be sent that is being sent, after the meter has
	// begun; 0 while there is none.
	sendingSince atomic.Int64
}

// noDelay stands for that of a stream which was sent nothing as it came.
const noDelay = -1

// Sender returns the sender of a stream, which sends by a function such as
// grpc.ServerStream.SendMsg.
func (s *Streams) Sender(send func(frame any) error) *Sender {
	sender := &Sender{streams: s, send: send, meter: meter{begun: time.Now()}}
	sender.delay.Store(noDelay)
	return sender
}

// Send sends a frame of a kind, such as `heartbeat`. It blocks while the
// subscriber does not read.
func (s *Sender) Send(kind string, frame any) error {
	begun := time.Now()
	s.sendingSince.Store(max(int64(begun.Sub(s.meter.begun)), 1))
	err := s.send(frame)
	s.last = time.Now()
	s.meter.waited(begun, s.last)
	s.sendingSince.Store(0)
	if err != nil {
		return err // a status, and nobody to read it
	}
	switch kind {
	case "caught_up":
		s.caughtUp.Store(true)
	case "fell_behind":
		s.caughtUp.Store(false)
	}
	s.streams.metrics.frames.WithLabelValues(kind).Inc()
	return nil
}

// SendBatch sends the events of a batch, if there are any, and empties it. live
// tells that the stream had caught up.
func (s *Sender) SendBatch(kind string, b *Batch, live bool) error {
	if b.Len() == 0 {
		return nil
	}
	count, oldest, trace := b.count, b.oldest, b.trace
	frame, size := b.take()
	if live && !oldest.IsZero() {
		delay := s.streams.now().Sub(oldest)
		s.delay.Store(int64(max(delay, 0)))
		s.streams.metrics.delayed(kind, delay, trace)
	}
	if err := s.Send(kind, frame); err != nil {
		return err
	}
	s.sentEvents.Add(int64(count))
	s.sentBytes.Add(int64(size))
	s.meter.sent(s.last, count)
	s.streams.metrics.events.Add(float64(count))
	s.streams.metrics.bytes.Add(float64(size))
	return nil
}

// Last returns when the last frame was sent.
func (s *Sender) Last() time.Time { return s.last }

// HasRead notes how far the stream has read.
func (s *Sender) HasRead(p eventlog.Position) { s.position.Store(uint64(p)) }
