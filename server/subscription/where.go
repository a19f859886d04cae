package subscription

import (
	"context"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
)

// Where is where a subscription stands with an event.
type Where struct {
	State webhookgatewayv1.DeliveryState
	// Attempts is how many failed, as far as it is known.
	Attempts int
}

const (
	notSelected = webhookgatewayv1.DeliveryState_DELIVERY_STATE_NOT_SELECTED
	pending     = webhookgatewayv1.DeliveryState_DELIVERY_STATE_PENDING
	inFlight    = webhookgatewayv1.DeliveryState_DELIVERY_STATE_IN_FLIGHT
	inWait      = webhookgatewayv1.DeliveryState_DELIVERY_STATE_WAITING
	isParked    = webhookgatewayv1.DeliveryState_DELIVERY_STATE_PARKED
	isPassed    = webhookgatewayv1.DeliveryState_DELIVERY_STATE_PASSED
)

// Where returns where a subscription stands with an event of the log. It changes nothing,
// and reads no event. Where gateways share the log, ErrNotFound is also returned for one that
// is not loaded here.
func (m *Manager) Where(ctx context.Context, name string, record eventlog.Record) (Where, error) {
	s, err := m.lookup(name)
	if err != nil {
		return Where{}, err
	}
	p := record.Position
	s.mu.Lock()
	w, known := s.machine.where(p)
	passed, selected := s.machine.passed(p), s.def.filter.Match(record) == filter.Match
	parkedSoon, decided := s.machine.parkedSoon(p)
	ended := s.ended
	s.mu.Unlock()
	switch {
	case ended != nil:
		return Where{}, ended
	case known && w.State != pending:
		return w, nil
	case decided && parkedSoon.action == parkIt:
		return Where{isParked, int(parkedSoon.attempts)}, nil
	case !decided:
		e, found, err := s.parked.get(ctx, p)
		if err != nil {
			return Where{}, err
		}
		if found {
			return Where{isParked, int(e.attempts)}, nil
		}
	}
	switch {
	case known:
		return w, nil
	case !selected:
		return Where{State: notSelected}, nil
	case passed:
		return Where{State: isPassed}, nil
	}
	return Where{State: pending}, nil
}

// where returns where the event of an entry stands, false if there is no entry of it. It
// looks through those that were offered and not settled.
func (m *machine) where(p eventlog.Position) (Where, bool) {
	s := m.apart[p]
	if s == 0 && p <= m.read {
		s = m.find(p)
	}
	if s == 0 {
		return Where{}, false
	}
	e := m.at(s)
	w := Where{inWait, int(e.attempts)}
	switch {
	case e.stage == held:
		w.State = inFlight
	case !e.is(apart) && !e.is(handed):
		w.State = pending
	}
	return w, true
}

// parkedSoon returns what is to become of an event that is parked or to be parked, and is not
// yet in the store: false if nothing is.
func (m *machine) parkedSoon(p eventlog.Position) (parkedChange, bool) {
	change, decided := m.parking.each[p]
	if change.action == sweepIt {
		return parkedChange{}, m.parking.discardAll
	}
	return change, decided || m.parking.discardAll
}
