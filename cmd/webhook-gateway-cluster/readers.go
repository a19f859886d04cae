package main

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// silence is how long a stream may say nothing: heartbeats are asked for each second.
const silence = 15 * time.Second

// startReaders starts a reader of each gateway, and one that goes from one gateway to the
// next with the same cursor.
func (l *lab) startReaders(ctx context.Context) {
	for i, g := range l.gateways {
		l.startReader(ctx, "the reader of "+g.name, func(int) int { return i }, 0)
	}
	l.startReader(ctx, "the reader of all", func(n int) int { return n % gateways }, 5*time.Second)
}

// startReader starts a reader. Its nth stream is of the gateway that which returns, and ends
// after some time, if not 0.
func (l *lab) startReader(ctx context.Context, name string, which func(n int) int, each time.Duration) {
	l.readers = append(l.readers, name)
	l.tasks.Go(func() {
		cursor := ""
		for n := 0; ctx.Err() == nil; n++ {
			g := l.gateways[which(n)]
			one, cancel := context.WithCancel(ctx)
			if each > 0 { // not a deadline, which the gateway would be told of
				time.AfterFunc(each, cancel)
			}
			err := l.read(one, g, name, &cursor)
			judge := one.Err() == nil
			cancel()
			if judge {
				l.judgeEnd(name, err)
			}
			if pause(ctx, 20*time.Millisecond) != nil {
				return
			}
		}
	})
}

// judgeEnd judges why a stream ended.
func (l *lab) judgeEnd(name string, err error) {
	if code := status.Code(err); code != codes.Unavailable && code != codes.OK {
		l.verdicts.fails("a stream ends for a good reason", "%s: %v", name, err)
	}
}

// read reads a stream until it ends, and returns why.
func (l *lab) read(ctx context.Context, g *gateway, name string, cursor *string) error {
	req := &webhookgatewayv1.SubscribeRequest{
		View: webhookgatewayv1.EventView_EVENT_VIEW_METADATA, HeartbeatInterval: durationpb.New(time.Second),
		Start: &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST},
	}
	if *cursor != "" {
		req.Start = &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: *cursor}
	}
	ctx, silent := l.listen(ctx, g, name)
	defer silent.stop()
	stream, err := g.events.Subscribe(ctx, req)
	if err != nil {
		return err
	}
	for {
		frame, err := stream.Recv()
		if ended := silent.heard(); ended || err != nil {
			return ignoreIf(ended, err)
		}
		after, at, events, gap := moves(frame)
		if gap {
			l.verdicts.fails("no gap", "%s: %v", name, frame)
		}
		if at == "" {
			continue
		}
		l.verdicts.follows(name, after, at, events)
		*cursor = at
	}
}

// A listener ends a stream that says nothing for too long.
type listener struct {
	timer  *time.Timer
	cancel context.CancelFunc
	// last is when something was heard. The timer reads it only after it has run out.
	last time.Time
}

// listen returns a context for a stream of a gateway, and what ends it. That the stream is silent
// is broken, unless there is a reason.
func (l *lab) listen(ctx context.Context, g *gateway, name string) (context.Context, *listener) {
	ctx, cancel := context.WithCancel(ctx)
	s := &listener{cancel: cancel, last: time.Now()}
	s.timer = time.AfterFunc(silence, func() {
		l.verdicts.answered(answer{key: "a frame for " + name, gateway: g.name, sent: s.last, answered: time.Now()})
		cancel()
	})
	return ctx, s
}

// heard notes that there was something, and reports whether it came too late.
func (s *listener) heard() (ended bool) {
	if !s.timer.Stop() {
		return true
	}
	s.last = time.Now()
	s.timer.Reset(silence)
	return false
}

func (s *listener) stop() {
	s.timer.Stop()
	s.cancel()
}

// ignoreIf returns an error, or nil if it is our own doing.
func ignoreIf(ours bool, err error) error {
	if ours {
		return nil
	}
	return err
}

// keyOf returns the key with which an event was sent.
func keyOf(e *webhookgatewayv1.Event) string {
	if e.GetProvider() == webhookgatewayv1.Provider_PROVIDER_VEZGO {
		return e.GetSubject()
	}
	return e.GetProviderEventId()
}

// moves returns from where to where a frame moves its reader, and with which events. At is
// empty for a frame that moves nothing.
func moves(frame *webhookgatewayv1.SubscribeResponse) (after, at string, events []entry, gap bool) {
	switch f := frame.GetFrame().(type) {
	case *webhookgatewayv1.SubscribeResponse_Subscribed:
		return f.Subscribed.GetStartCursor(), f.Subscribed.GetStartCursor(), nil, false
	case *webhookgatewayv1.SubscribeResponse_Events:
		for _, e := range f.Events.GetEvents() {
			events = append(events, entry{id: e.GetId(), cursor: e.GetCursor(), key: keyOf(e)})
			at = e.GetCursor()
		}
		return f.Events.GetAfterCursor(), at, events, false
	case *webhookgatewayv1.SubscribeResponse_Heartbeat:
		return f.Heartbeat.GetAfterCursor(), f.Heartbeat.GetCursor(), nil, false
	case *webhookgatewayv1.SubscribeResponse_CaughtUp:
		return f.CaughtUp.GetAfterCursor(), f.CaughtUp.GetCursor(), nil, false
	case *webhookgatewayv1.SubscribeResponse_FellBehind:
		return f.FellBehind.GetAfterCursor(), f.FellBehind.GetCursor(), nil, false
	case *webhookgatewayv1.SubscribeResponse_Goodbye:
		return f.Goodbye.GetAfterCursor(), f.Goodbye.GetCursor(), nil, false
	case *webhookgatewayv1.SubscribeResponse_Gap:
		return f.Gap.GetFromCursor(), f.Gap.GetToCursor(), nil, true
	}
	return "", "", nil, false
}
