package jetstream

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// begin asks the leader of the stream what comes after a sequence, and tells the tail if nothing does, or if that is
// trimmed. It returns the last message that the leader has.
func (l *Log) begin(ctx context.Context, after commitlog.Sequence, place int) (last commitlog.Sequence, err error) {
	stream, err := l.js.Stream(ctx, l.config.Stream)
	if err != nil {
		return 0, fmt.Errorf("look at the stream: %w", err)
	}
	state := stream.CachedInfo().State
	last = commitlog.Sequence(state.LastSeq)
	l.tail.ends(place, last)
	switch {
	case last <= after:
		l.tail.settle(place, nil)
	case state.FirstSeq > uint64(after)+1:
		l.tail.settle(place, &commitlog.TrimmedError{After: after, Trimmed: commitlog.Sequence(state.FirstSeq - 1)})
	}
	return last, nil
}

// fetch reads some of what comes after a sequence from the leader of the stream, message by message. A consumer is
// quicker, but to make one takes a leader of the cluster, too, who may be elected seconds later; and it may be on a
// server that lacks what the others have, such as one whose disk is new.
func (l *Log) fetch(ctx context.Context, after commitlog.Sequence, place int) error {
	first, cancel := context.WithTimeout(ctx, consumerTimeout)
	defer cancel()
	last, err := l.begin(first, after, place)
	if err != nil || l.tail.isTrimmed() {
		return err
	}
	a := newAssembly(l.tail, place, after)
	for at := uint64(after) + 1; at <= min(uint64(last), uint64(after)+slowMessages); at++ {
		header, data, err := l.message(ctx, at)
		if err != nil {
			l.messages.failed(err)
			return fmt.Errorf("read message %d: %w", at, err)
		}
		if wanted, err := a.take(ctx, at, header, data); err != nil || !wanted {
			return err
		}
	}
	l.messages.done()
	return nil
}

func (c Config) messageSubject() string { return "$JS.API.STREAM.MSG.GET." + c.Stream }

// message asks the leader for a message. (The library would ask any server, if the stream allows that.)
func (l *Log) message(ctx context.Context, at uint64) (nats.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, l.messages.now())
	defer cancel()
	reply, err := l.conn.RequestWithContext(ctx, l.config.messageSubject(), fmt.Appendf(nil, `{"seq":%d}`, at))
	if err != nil {
		return nil, nil, err
	}
	var answer struct {
		Error   *natsjs.APIError `json:"error"`
		Message struct {
			Headers []byte `json:"hdrs"`
			Data    []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return nil, nil, fmt.Errorf("not understood: %w", err)
	}
	if answer.Error != nil {
		return nil, nil, answer.Error
	}
	if len(answer.Message.Headers) == 0 {
		return nil, answer.Message.Data, nil
	}
	header, err := nats.DecodeHeadersMsg(answer.Message.Headers)
	return header, answer.Message.Data, err
}

// assembly makes commits of the messages after a sequence, and adds them to a tail.
type assembly struct {
	tail  *tail
	place int
	after commitlog.Sequence
	last  uint64
	parts []byte // of a commit that is not whole yet
}

func newAssembly(t *tail, place int, after commitlog.Sequence) *assembly {
	return &assembly{tail: t, place: place, after: after, last: uint64(after)}
}

// take takes the next message. It reports whether the tail wants more.
func (a *assembly) take(ctx context.Context, at uint64, header nats.Header, data []byte) (wanted bool, err error) {
	switch {
	case at <= a.last:
		return true, nil
	case at == a.last+1:
	case a.parts == nil && a.last == uint64(a.after):
		a.tail.settle(a.place, &commitlog.TrimmedError{After: a.after, Trimmed: commitlog.Sequence(at - 1)})
		return true, nil
	default:
		return false, fmt.Errorf("after message %d comes %d", a.last, at)
	}
	a.last = at
	if header.Get(batchIDHeader) != "" && header.Get(batchCommitHeader) == "" {
		a.parts = append(a.parts, data...)
		return true, nil
	}
	if a.parts != nil {
		data, a.parts = append(a.parts, data...), nil
	}
	return a.tail.add(ctx, a.place, commitlog.Commit{Sequence: commitlog.Sequence(at), Bytes: data}), nil
}
