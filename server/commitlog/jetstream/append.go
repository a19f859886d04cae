package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// How long an answer is waited for: then the commit is undecided, and sent again. The
// library is not asked to try again by itself: each try has to look at the stream first.
// That to the last part of a commit comes when all of it is replicated, at batchRate bytes
// a second at worst. The other parts are waited for longer after one that was late.
const (
	appendTimeout = 1500 * time.Millisecond
	maxPartWait   = 6 * time.Second
	batchTimeout  = 3 * time.Second
	batchRate     = 8 << 20
)

// Headers of atomic batches (ADR-50 of NATS).
const (
	batchIDHeader       = "Nats-Batch-Id"
	batchSequenceHeader = "Nats-Batch-Sequence"
	batchCommitHeader   = "Nats-Batch-Commit"
)

// Answers to an append that say that another commit has the place.
const (
	wrongLastSequence         = 10071
	wrongLastSequenceConstant = 10164
)

// Answers to an append that last until somebody does something.
const (
	// tooLargeBatch is for a batch of more messages than the server allows.
	tooLargeBatch = 10199
	accountFull   = 10002
	storageFull   = 10047
	// notStored has the cause as its description.
	notStored = 10077
)

// headersBytes is more than the headers of a message take.
const headersBytes = 1 << 10

// Append implements commitlog.Log.
func (l *Log) Append(ctx context.Context, after commitlog.Sequence, commit []byte) (commitlog.Sequence, error) {
	if l.life.Err() != nil {
		return 0, commitlog.ErrClosed
	}
	answer, err := l.publish(ctx, after, l.cut(commit))
	if l.life.Err() != nil {
		return 0, commitlog.ErrClosed
	}
	if err != nil {
		err = fmt.Errorf("append to the stream %s: %w", l.config.Stream, err)
	}
	if ctx.Err() == nil {
		l.health.appended(err)
	}
	if err != nil {
		return 0, err
	}
	l.tail.expect(answer)
	return answer, nil
}

// cut cuts a commit into parts that fit into a message of the server that is connected. The
// next one may have another limit: readers put parts together of whatever size.
func (l *Log) cut(commit []byte) (parts [][]byte) {
	limit := max(int(l.conn.MaxPayload())-headersBytes, headersBytes)
	for len(commit) > limit {
		parts = append(parts, commit[:limit])
		commit = commit[limit:]
	}
	return append(parts, commit)
}

// publish sends the parts of a commit, each when the one before it was answered. The answer to
// all but the last says only that the leader has it.
func (l *Log) publish(ctx context.Context, after commitlog.Sequence, parts [][]byte) (at commitlog.Sequence, err error) {
	batch := nuid.Next() // one of its own for each try
	for i, part := range parts {
		message := &nats.Msg{Subject: l.config.subject(), Data: part, Header: nats.Header{}}
		message.Header.Set(natsjs.ExpectedStreamHeader, l.config.Stream)
		if i == 0 {
			message.Header.Set(natsjs.ExpectedLastSeqHeader, strconv.FormatUint(uint64(after), 10))
		}
		timeout := appendTimeout
		if len(parts) > 1 {
			message.Header.Set(batchIDHeader, batch)
			message.Header.Set(batchSequenceHeader, strconv.Itoa(i+1))
			timeout = l.parts.now()
			if i == len(parts)-1 {
				message.Header.Set(batchCommitHeader, "1")
				timeout = batchTimeout + time.Duration(len(parts)*len(parts[0]))*time.Second/batchRate
			}
		}
		if at, err = l.request(ctx, message, timeout); err != nil {
			if len(parts) > 1 {
				l.parts.failed(err)
			}
			return 0, err
		}
	}
	if len(parts) > 1 {
		l.parts.done()
	}
	if want := after + commitlog.Sequence(len(parts)); at != want {
		return 0, fmt.Errorf("the answer says that it is at %d, and not at %d", at, want)
	}
	return at, nil
}

func (l *Log) request(ctx context.Context, message *nats.Msg, timeout time.Duration) (commitlog.Sequence, error) {
	ctx, cancel := l.within(ctx, timeout)
	defer cancel()
	answer, err := l.conn.RequestMsgWithContext(ctx, message)
	if err != nil {
		return 0, err
	}
	return sequenceOf(answer.Data)
}

// sequenceOf reads the answer to a message. That to the first of a batch is empty.
func sequenceOf(text []byte) (commitlog.Sequence, error) {
	if len(text) == 0 {
		return 0, nil
	}
	var answer struct {
		natsjs.PubAck
		Error *natsjs.APIError `json:"error"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return 0, fmt.Errorf("not understood: %w", err)
	}
	switch {
	case answer.Error == nil:
		return commitlog.Sequence(answer.Sequence), nil
	case answer.Error.ErrorCode == wrongLastSequence, answer.Error.ErrorCode == wrongLastSequenceConstant:
		return 0, fmt.Errorf("%w: %w", commitlog.ErrTaken, answer.Error)
	}
	if isFull(answer.Error) { // the server looks at the sequence before that
		return 0, fmt.Errorf("%w: %w: %s", commitlog.ErrFull, answer.Error, remedy(answer.Error))
	}
	if todo := remedy(answer.Error); todo != "" {
		return 0, fmt.Errorf("%w: %s", answer.Error, todo)
	}
	return 0, answer.Error
}

// isFull reports whether a refusal is for a limit of the stream.
func isFull(refusal *natsjs.APIError) bool {
	return refusal.ErrorCode == notStored && strings.Contains(refusal.Description, "maximum") // the only word there is of it
}

// remedy returns what an operator can do about a refusal that does not pass by itself.
func remedy(refusal *natsjs.APIError) string {
	switch uint16(refusal.ErrorCode) {
	case tooLargeBatch:
		return "the commit needs more messages: raise max_payload of the servers, or their jetstream.limits.batch.max_msgs (1000 by default)"
	case notStored:
		if isFull(refusal) {
			return "the limit is none that the gateway has set. It trims what commits have said before, within minutes; if that does not make room, nothing but a commit does, so remove the limit: `nats stream edit --max-bytes=-1 --max-msgs=-1`"
		}
	case accountFull, storageFull:
		return "there is no room for the stream: raise the limits of the account, or max_file_store of the servers"
	}
	return ""
}
