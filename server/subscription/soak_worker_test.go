package subscription

import (
	"context"
	"errors"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// work is the life of a stream.
func (s *soak) work(ctx context.Context) {
	g, _ := s.now()
	st, err := g.manager.Attach("s", StreamOptions{MaxInFlight: s.n(6)})
	if err != nil {
		<-time.After(s.upTo(time.Second))
		return
	}
	defer st.Close()
	w := &soakWorker{soak: s, g: g, stream: st}
	for range 1 + s.n(30) {
		current, _ := s.now()
		if current != g || ctx.Err() != nil || !w.receive(ctx) {
			break
		}
		w.deal(false)
		if s.n(2) == 0 {
			<-time.After(s.upTo(time.Second))
		}
		if s.n(30) == 0 {
			<-time.After(s.upTo(15 * time.Second)) // it hangs
		}
	}
	switch s.n(3) {
	case 0:
		st.Release()
	case 1:
		w.settle(w.held, 4)
	}
}

type soakWorker struct {
	*soak
	g      *gateway
	stream *Stream
	held   []Delivery
}

func (w *soakWorker) receive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, w.upTo(5*time.Second)+1)
	defer cancel()
	batch, err := w.stream.Next(ctx, 1+w.n(10))
	if err != nil {
		return errors.Is(err, context.DeadlineExceeded)
	}
	w.mu.Lock()
	w.gaps = append(w.gaps, batch.Gaps...)
	w.mu.Unlock()
	if w.n(10) == 0 {
		<-time.After(w.upTo(6 * time.Second))
	}
	for i := 1; i < len(batch.Deliveries); i++ {
		if batch.Deliveries[i].Position <= batch.Deliveries[i-1].Position {
			w.t.Errorf("a batch is out of order: %v", positions(batch.Deliveries))
		}
	}
	for e, err := range w.stream.Read(w.t.Context(), batch.Deliveries) {
		if err != nil {
			if !errors.Is(err, ErrNotFound) {
				w.t.Errorf("Read() = %v", err)
			}
			return false
		}
		if e.Record.Position != e.Position || string(e.Record.Subject()) != w.subject(e.Position) {
			w.t.Errorf("with the token of %d came event %d", e.Position, e.Record.Position)
		}
		w.send(e.Delivery)
	}
	return true
}

func (s *soak) subject(p eventlog.Position) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events[p]
}

func (w *soakWorker) send(d Delivery) {
	p := d.Position
	w.mu.Lock()
	epoch, settled, retries := w.epoch, w.settled[p], w.retries[p]
	w.mu.Unlock()
	sent := w.stream.Sending([]Delivery{d})
	if len(sent) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sure(w.g, epoch) {
		switch failed := d.Attempt - 1; {
		case settled:
			w.t.Errorf("event %d was delivered again, and is settled", p)
		case failed < retries:
			w.t.Errorf("event %d: %d failed attempts, and %d were counted", p, failed, retries)
		case failed > w.sends[p]:
			w.t.Errorf("event %d: %d failed attempts, and it was sent %d times", p, failed, w.sends[p])
		}
	}
	w.sends[p]++
	w.held = append(w.held, sent...)
}

// deal settles some of what is held.
func (w *soakWorker) deal(all bool) {
	for range 3 {
		if len(w.held) == 0 {
			return
		}
		n := 1 + w.n(len(w.held))
		if all {
			n = len(w.held)
		}
		some := w.held[:n]
		if action := []int{0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 6}[w.n(13)]; action < 6 {
			w.settle(some, action)
		} else {
			return
		}
	}
}

// settle does one of the things that can be done with tokens.
func (w *soakWorker) settle(some []Delivery, action int) {
	if len(some) == 0 {
		return
	}
	_, epoch := w.now()
	ctx, m, texts := w.t.Context(), w.g.manager, tokens(some...)
	var results []webhookgatewayv1.TokenResult
	var err error
	switch action {
	case 0:
		results, err = m.Acknowledge(ctx, "s", texts)
	case 1:
		results, err = m.Retry(ctx, "s", texts, time.Duration(w.n(3)-1)*time.Second, "retry")
	case 2:
		results, err = m.Park(ctx, "s", texts, "park")
	case 3:
		_, err = m.Extend(ctx, "s", texts, time.Duration(1+w.n(8))*time.Second)
		if err == nil {
			return
		}
	case 4:
		results, err = m.Release(ctx, "s", texts)
	case 5: // for the single reader
		last := some[len(some)-1]
		var result webhookgatewayv1.TokenResult
		if result, err = m.CommitCursor(ctx, "s", last.Position, last.AckToken()); err == nil {
			results = make([]webhookgatewayv1.TokenResult, len(some))
			for i := range results {
				results[i] = result
			}
		} else if errors.Is(err, ErrNotStrict) || errors.Is(err, ErrCursorNotDelivered) {
			return
		}
	}
	if errors.Is(err, ErrTooManyWaiting) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	sure := w.sure(w.g, epoch) && err == nil
	for i, d := range some {
		p := d.Position
		switch {
		case !sure:
			w.maybe[p] = w.maybe[p] || action != 3 && action != 4
		case results[i] == resultOK && action == 1:
			w.retries[p]++
		case results[i] == resultOK && action == 4:
			w.sends[p] = max(0, w.sends[p]-1)
		case results[i] == resultOK && (action != 5 || p <= some[len(some)-1].Position):
			w.settled[p] = true
			if action == 2 {
				w.parked[p] = true
			}
		}
	}
	w.held = w.held[len(some):]
}
