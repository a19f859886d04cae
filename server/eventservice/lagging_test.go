package eventservice_test

import (
	"context"
	"iter"
	"log/slog"
	"sync/atomic"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// lagging is a commit log whose tail shows nothing new before this gateway has tried to
// append.
type lagging struct {
	commitlog.Log
	memory *commitlogtest.Memory
	shown  atomic.Uint64
	off    atomic.Bool
}

func (l *lagging) Append(ctx context.Context, after commitlog.Sequence, commit []byte) (commitlog.Sequence, error) {
	if l.off.Load() {
		return 0, context.DeadlineExceeded
	}
	defer func() { l.shown.Store(uint64(l.memory.Len())) }()
	return l.Log.Append(ctx, after, commit)
}

func (l *lagging) Read(ctx context.Context, after commitlog.Sequence) iter.Seq2[commitlog.Commit, error] {
	return func(yield func(commitlog.Commit, error) bool) {
		for commit, err := range l.Log.Read(ctx, after) {
			if uint64(commit.Sequence) > l.shown.Load() || !yield(commit, err) {
				return
			}
		}
	}
}

func (l *lagging) Err() error {
	if l.off.Load() {
		return context.DeadlineExceeded
	}
	return nil
}

func openCopy(t *testing.T, commits commitlog.Log) *pebblelog.Log {
	t.Helper()
	config := pebblelog.DefaultConfig()
	config.Path = t.TempDir()
	log, err := pebblelog.Open(config, slog.New(slog.DiscardHandler), pebblelog.WithCommits(t.Context(), commits))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	<-log.Current()
	return log
}

// TestGatewayThatLags: what only a gateway that is not behind can answer is answered right,
// or, if it cannot be known, as unavailable.
func TestGatewayThatLags(t *testing.T) {
	memory := commitlogtest.NewMemory()
	one := serve(t, openCopy(t, memory.Open(nil)), testConfig())
	tail := &lagging{Log: memory.Open(nil), memory: memory}
	two := serve(t, openCopy(t, tail), testConfig())
	subscribe := func(req *webhookgatewayv1.SubscribeRequest) (*webhookgatewayv1.Subscribed, error) {
		stream, err := two.client.Subscribe(t.Context(), req)
		if err != nil {
			return nil, err
		}
		first, err := stream.Recv()
		return first.GetSubscribed(), err
	}
	var newest *webhookgatewayv1.Event
	for name, ask := range map[string]func() (cursor string, err error){
		"an event": func() (string, error) {
			got, err := two.client.GetEvent(t.Context(), &webhookgatewayv1.GetEventRequest{Id: newest.GetId()})
			return got.GetEvent().GetCursor(), err
		},
		"a cursor": func() (string, error) {
			got, err := subscribe(&webhookgatewayv1.SubscribeRequest{Start: &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: newest.GetCursor()}})
			return got.GetStartCursor(), err
		},
		"the latest": func() (string, error) {
			got, err := subscribe(&webhookgatewayv1.SubscribeRequest{})
			return got.GetStartCursor(), err
		},
		"where the log ends": func() (string, error) {
			got, err := two.client.GetLogInfo(t.Context(), &webhookgatewayv1.GetLogInfoRequest{})
			return got.GetHeadCursor(), err
		},
		"up to the head": func() (string, error) {
			stream, err := two.client.Subscribe(t.Context(), &webhookgatewayv1.SubscribeRequest{
				Start: &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST},
				Stop:  &webhookgatewayv1.SubscribeRequest_StopAtHead{StopAtHead: true},
			})
			last := ""
			for err == nil {
				var frame *webhookgatewayv1.SubscribeResponse
				if frame, err = stream.Recv(); err == nil {
					for _, event := range frame.GetEvents().GetEvents() {
						last = event.GetCursor()
					}
				}
			}
			if rpcerr.Reason(err) == webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
				err = nil // the end
			}
			return last, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			one.add(t, vezgo, syncAccount, name)
			info, err := one.client.GetLogInfo(t.Context(), &webhookgatewayv1.GetLogInfoRequest{})
			if err != nil {
				t.Fatal(err)
			}
			list, err := one.client.ListEvents(t.Context(), &webhookgatewayv1.ListEventsRequest{NewestFirst: true, PageSize: 1})
			if err != nil {
				t.Fatal(err)
			}
			newest = list.GetEvents()[0]
			if got, err := ask(); err != nil || got != info.GetHeadCursor() {
				t.Errorf("%q, %v; want %q", got, err, info.GetHeadCursor())
			}
		})
	}

	tail.off.Store(true)
	if _, err := subscribe(&webhookgatewayv1.SubscribeRequest{}); rpcerr.Reason(err) != webhookgatewayv1.ErrorReason_ERROR_REASON_LOG_UNAVAILABLE {
		t.Errorf("while the commit log takes nothing: %v", err)
	}
	tail.off.Store(false)
}
