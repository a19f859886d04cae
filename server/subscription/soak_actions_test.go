package subscription

import (
	"errors"
	"fmt"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// act is one thing that somebody does.
func (s *soak) act() {
	g, ctx := s.g, s.t.Context()
	check := func(what string, err error) bool {
		if err != nil && !errors.Is(err, errDisk) && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrTooManyWaiting) {
			s.t.Errorf("%s = %v", what, err)
		}
		return err == nil
	}
	switch n := s.n(40); {
	case n < 22:
		for range 1 + s.n(8) {
			client, subject := []string{"a", "a", "b", "c"}[s.n(4)], fmt.Sprint(s.n(4))
			s.mu.Lock()
			s.events = append(s.events, subject)
			s.must[eventlog.Position(len(s.events)-1)] = client == "a"
			s.mu.Unlock()
			g.append(s.t, client, subject)
		}
	case n < 25:
		up := &webhookgatewayv1.Subscription{Name: "s", Filters: [][]*webhookgatewayv1.EventFilter{
			{{ClientIds: []string{"a"}}}, {{ClientIds: []string{"a", "b"}}}, {{ClientIds: []string{"a", "c"}}},
		}[s.n(3)]}
		if s.n(2) == 0 {
			up.Settings = s.settings()
		}
		_, err := g.manager.Update(ctx, up, nil, nil)
		check("Update()", err)
	case n < 27:
		s.moving(func() {
			to := s.trimmed + eventlog.Position(s.n(len(s.events)-int(s.trimmed)))
			if s.n(4) > 0 {
				to = max(s.trimmed, to)
			}
			s.mu.Lock()
			s.reset(max(to, s.trimmed))
			s.mu.Unlock()
			_, err := g.manager.Seek(ctx, "s", to)
			check("Seek()", err)
			s.mu.Lock() // what overlapped with it may have been settled before
			clear(s.settled)
			clear(s.retries)
			s.mu.Unlock()
			if err != nil { // it may be forgotten after a crash
				_, err = s.retrySeek(g, to)
				check("Seek()", err)
			}
		})
	case n < 31:
		s.replay(g, check)
	case n < 33:
		list := s.list(g)
		if list == nil {
			return
		}
		ids := list[:s.n(len(list)+1)]
		s.mu.Lock()
		for _, p := range ids {
			s.maybe[p] = true
			delete(s.parked, p)
		}
		s.mu.Unlock()
		if len(ids) > 0 {
			_, _, err := g.manager.Discard(ctx, "s", ids)
			check("Discard()", err)
		}
		s.mu.Lock() // one may have been parked again meanwhile, and be discarded
		for _, p := range ids {
			delete(s.parked, p)
		}
		s.mu.Unlock()
	case n < 35:
		upTo := s.trimmed + eventlog.Position(s.n(len(s.events)-int(s.trimmed)))
		s.mu.Lock()
		s.trimmed = upTo
		s.mu.Unlock()
		if upTo > 0 {
			check("Trim()", g.log.Trim(ctx, upTo))
		}
	case n < 37:
		s.moving(func() {
			next := s.start(g.disk.Crash())
			s.mu.Lock()
			s.g = next
			s.mu.Unlock()
		})
	case n == 37:
		s.moving(func() {
			for g.manager.Delete(ctx, "s") != nil && s.exists(g) {
			}
			s.mu.Lock()
			after := s.trimmed
			s.parked = nil
			s.gaps = nil
			s.reset(after)
			s.mu.Unlock()
			in := &webhookgatewayv1.Subscription{Name: "s", Settings: s.settings()}
			for {
				_, err := g.manager.Create(ctx, in, func() (eventlog.Position, error) { return after, nil })
				if check("Create()", err) {
					return
				}
			}
		})
	case n == 38 && s.n(3) == 0:
		// What is parked for longer than an hour is removed.
		for range 2 {
			list := s.list(g)
			s.mu.Lock()
			for _, p := range list {
				s.maybe[p] = true
			}
			clear(s.parked)
			s.mu.Unlock()
			<-time.After(50 * time.Minute)
		}
	default:
		_, err := g.manager.Get(ctx, "s")
		check("Get()", err)
	}
}

func (s *soak) exists(g *gateway) bool {
	_, err := g.manager.Get(s.t.Context(), "s")
	return !errors.Is(err, ErrNotFound)
}

func (s *soak) retrySeek(g *gateway, to eventlog.Position) (any, error) {
	for {
		out, err := g.manager.Seek(s.t.Context(), "s", to)
		if !errors.Is(err, errDisk) {
			return out, err
		}
	}
}

// list returns the parked events.
func (s *soak) list(g *gateway) []eventlog.Position {
	parked, err := g.manager.ListParked(s.t.Context(), "s", 0, 10_000, 1<<30)
	if err != nil {
		if !errors.Is(err, errDisk) {
			s.t.Errorf("ListParked() = %v", err)
		}
		return nil
	}
	var list []eventlog.Position
	for _, p := range parked {
		list = append(list, p.Position)
		if p.HasRecord && string(p.Record.Subject()) != s.events[p.Position] {
			s.t.Errorf("parked event %d is of the subject %s", p.Position, p.Record.Subject())
		}
	}
	return list
}

func (s *soak) replay(g *gateway, check func(string, error) bool) {
	s.moving(func() {
		list := s.list(g)
		if len(list) == 0 {
			return
		}
		ids := list[:1+s.n(len(list))]
		forget := func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, p := range list {
				delete(s.settled, p)
				delete(s.parked, p)
			}
			clear(s.retries)
		}
		forget()
		before := make(map[eventlog.Position]int)
		s.mu.Lock()
		for _, p := range ids {
			before[p] = s.sends[p]
			delete(s.maybe, p)
		}
		s.mu.Unlock()
		if s.n(2) == 0 {
			ids = nil
		}
		_, unknown, err := g.manager.Replay(s.t.Context(), "s", ids)
		check("Replay()", err)
		forget()
		s.mu.Lock()
		for _, p := range unknown { // nothing is left of them
			s.maybe[p] = true
			delete(before, p)
		}
		for p, n := range before {
			if err == nil && ids != nil { // but for one delivery that is under way
				s.sends[p] -= max(0, n-1)
			}
		}
		s.mu.Unlock()
		if err == nil && len(unknown) > 0 && s.trimmed == 0 {
			s.t.Errorf("Replay() does not know %v", unknown)
		}
	})
}
