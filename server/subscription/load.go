package subscription

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

const (
	reloadAfter       = time.Second
	reloadAfterAtMost = 30 * time.Second
)

// damagedReason is why a subscription that is damaged cannot be used, and what to do.
const damagedReason = "its stored state is damaged: restore a backup, or create a subscription with another name"

var errNotLoaded = errors.New("the subscriptions are not loaded yet")

// setAside is a subscription that could not be loaded.
type setAside struct {
	// reason why it cannot be used, for people.
	reason string
	// failure of the store, if that is all: it is tried again.
	failure error
}

func (a *setAside) err(name string) error {
	if a.failure != nil {
		return fmt.Errorf("load the subscription %s: %w", name, a.failure)
	}
	return &UnusableError{Name: name, Reason: a.reason}
}

// malformedError is what makes a subscription unusable, rather than the store
// that it cannot be read from.
type malformedError struct{ error }

func (e malformedError) Unwrap() error { return e.error }

// reload loads what could not be read, until it can.
func (m *Manager) reload() {
	wait := reloadAfter
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-time.After(wait):
		}
		if m.loadAll(m.ctx) {
			return
		}
		wait = min(2*wait, reloadAfterAtMost)
	}
}

// loadAll loads the subscriptions that are not loaded. It returns false if it is
// to be tried again.
func (m *Manager) loadAll(ctx context.Context) bool {
	m.changing.Lock()
	defer m.changing.Unlock()
	var names []string
	var unlisted error
	for name, err := range m.States.ListScopes(ctx, "") {
		if err != nil {
			unlisted = fmt.Errorf("list the subscriptions: %w", err)
			m.Logger.Error("subscriptions cannot be listed: those that can be are served, and it is tried again", "listed", len(names), "error", err)
			break
		}
		if !strings.HasPrefix(name, eventlog.ReservedPrefix) {
			names = append(names, name)
		}
	}
	done := unlisted == nil
	for _, name := range names {
		if m.known(name) {
			continue
		}
		s, err := m.load(ctx, name)
		done = m.loaded(name, s, err) && done
	}
	m.mu.Lock()
	m.unlisted = unlisted
	m.mu.Unlock()
	return done
}

// known reports whether a subscription is loaded, or never will be.
func (m *Manager) known(name string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	a := m.aside[name]
	return m.byName[name] != nil || a != nil && a.failure == nil
}

// loaded takes note of what came of loading a subscription. It returns false if it
// is to be tried again.
func (m *Manager) loaded(name string, s *subscription, err error) bool {
	var a *setAside
	switch {
	case errors.As(err, new(malformedError)):
		a = &setAside{reason: err.Error()}
		m.Logger.Error("a subscription cannot be used and is set aside: everything else runs", "subscription", name, "reason", a.reason)
	case errors.Is(err, eventlog.ErrStateDamaged):
		a = &setAside{reason: damagedReason}
		m.Logger.Error("a subscription is damaged and is set aside: everything else runs", "subscription", name, "error", err)
	case err != nil:
		a = &setAside{failure: err}
		m.Logger.Error("a subscription cannot be loaded: it is tried again", "subscription", name, "error", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.aside, name)
	if a != nil {
		m.aside[name] = a
		return a.failure == nil
	}
	m.byName[name] = s
	m.metrics.know(name)
	return true
}

// deleteAside deletes a subscription that was set aside.
func (m *Manager) deleteAside(ctx context.Context, name string) error {
	term, err := m.States.AcquireScope(ctx, name)
	if err == nil {
		err = m.States.DropScope(ctx, name, term)
	}
	if err != nil {
		return fmt.Errorf("delete the subscription: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.aside, name)
	return nil
}

// load takes over a subscription that exists.
func (m *Manager) load(ctx context.Context, name string) (*subscription, error) {
	term, err := m.States.AcquireScope(ctx, name)
	if err != nil {
		return nil, err
	}
	var s *subscription
	for pair, err := range m.States.ReadScope(ctx, name, []byte(keyDefinition), []byte(keyDefinition+"\x00")) {
		if err != nil {
			return nil, err
		}
		def, key, err := decodeDefinition(name, pair.Value)
		if err != nil {
			return nil, malformedError{err}
		}
		s = m.newSubscription(key, term, def, 0)
	}
	if s == nil {
		if exists, err := m.exists(ctx, name); err == nil && !exists {
			return nil, ErrNotFound // deleted meanwhile, by another gateway
		}
		return nil, malformedError{errors.New("its definition is missing")}
	}
	// NOTE Parked events and copies stay where they are, however many they are.
	for _, part := range [][2][]byte{
		{nil, {byte(pairCopy)}},
		{[]byte(keyDefinition + "\x00"), keyOf(pairCount, 0)},
		{keyOf(pairCount, 1), {byte(pairParked)}},
		{{byte(pairParkedTime) + 1}, nil},
	} {
		for pair, err := range m.States.ReadScope(ctx, name, part[0], part[1]) {
			if err != nil {
				return nil, err
			}
			if err := s.machine.loadPair(pair.Key, pair.Value); err != nil {
				return nil, malformedError{err}
			}
		}
	}
	s.totals, err = s.parked.totals(ctx)
	return s, err
}

// unusable returns the names of the subscriptions that were set aside.
func (m *Manager) unusable() []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var names []string
	for name, a := range m.aside {
		if a.failure == nil {
			names = append(names, name)
		}
	}
	return names
}
