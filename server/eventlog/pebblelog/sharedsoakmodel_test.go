package pebblelog

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"time"

	commitlogv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/commitlog/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// look reads what the commit log has got since the last look. The caller holds mu.
func (s *soak) look() {
	log := s.memory.Open(nil)
	defer func() { _ = log.Close() }()
	for commit, err := range log.Read(context.Background(), commitlog.Sequence(len(s.shadow))) {
		if err != nil {
			s.t.Errorf("the test lacks commits: %v", err)
			return
		}
		s.shadow[commit.Sequence] = commit.Bytes
	}
}

// A soakModel is what the commits say that are in the commit log.
type soakModel struct {
	pairs  map[string]string
	events map[eventlog.Position]string // bodies, of trimmed ones too
	void   int
}

func bodyOf(p eventlog.Position, value []byte) string {
	record, err := eventlog.ParseRecord(p, value, true)
	if err != nil {
		return err.Error()
	}
	event, err := record.Event(&eventlog.History{}, webhookgatewayv1.EventView_EVENT_VIEW_RAW)
	if err != nil {
		return err.Error()
	}
	return string(event.GetRawBody())
}

func (s *soak) model() *soakModel {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	m := &soakModel{pairs: make(map[string]string), events: make(map[eventlog.Position]string)}
	var expected []byte
	for at := commitlog.Sequence(1); int(at) <= len(s.shadow); at++ {
		var c commitlogv1.Commit
		if err := unmarshalCommit(s.shadow[at], &c); err != nil {
			s.t.Fatal(err)
		}
		hash := sha256.Sum256(s.shadow[at])
		if at > 1 && string(c.GetPreviousHash()) != string(expected) {
			m.void++
			next := sha256.Sum256(append(expected, hash[:]...))
			expected = next[:]
			continue
		}
		expected = hash[:]
		for _, o := range c.GetOperations() {
			m.apply(o)
		}
	}
	return m
}

func (m *soakModel) apply(o *commitlogv1.Operation) {
	key := string(o.GetKey())
	switch {
	case o.Value != nil:
		m.pairs[key] = string(o.GetValue())
		if p, err := parseEventKey(o.GetKey()); err == nil {
			m.events[p] = bodyOf(p, o.GetValue())
		}
	case len(o.GetEnd()) > 0:
		maps.DeleteFunc(m.pairs, func(k, _ string) bool { return k >= key && k < string(o.GetEnd()) })
	default:
		delete(m.pairs, key)
	}
}

// settle ends all faults, and judges.
func (s *soak) settle() {
	s.t.Helper()
	s.note("all is well")
	for _, c := range s.copies {
		if c.log == nil {
			c.open()
		}
		c.engine.heal()
	}
	s.async.Wait()
	if !s.settled() {
		return
	}
	fresh := s.begin()
	defer fresh.close()
	all := append(s.copies[:len(s.copies):len(s.copies)], fresh)
	s.judge(all)
	if s.t.Failed() {
		return
	}
	s.cut = false
	for _, c := range s.copies {
		s.goOn(c)
	}
	s.judge(all)
}

// judge judges all gateways at the same commit.
func (s *soak) judge(all []*soakCopy) {
	for s.still(all) {
		before, m := s.stamp(all), s.model()
		s.void = max(s.void, m.void)
		s.problems = nil
		for i, c := range all {
			s.judgeCopy(i, c.log, m)
		}
		if before != s.stamp(all) {
			continue // somebody has noticed something meanwhile
		}
		for _, problem := range s.problems {
			s.t.Error(problem)
		}
		s.judgeAcked(m)
		for _, r := range s.readers {
			r.follow(s, s.copies[s.r.IntN(len(s.copies))])
			r.judge(s, m)
		}
		return
	}
}

// stamp says where all are.
func (s *soak) stamp(all []*soakCopy) string {
	stamp := fmt.Sprint(s.memory.Len())
	for _, c := range all {
		shared := c.log.shared
		stamp += fmt.Sprint(" ", shared.applied.Load(), shared.rebuilt.Load(), shared.current.Load(), shared.ended.Load() == nil, c.log.Err())
	}
	return stamp
}

func (s *soak) problem(format string, args ...any) {
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

// settled waits until nothing is left to be said by anybody.
func (s *soak) settled() bool {
	deadline := time.Now().Add(patience)
	for {
		well := true
		for _, c := range s.copies {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			err := c.log.Sync(ctx)
			cancel()
			_, current := c.log.CatchUp()
			if well = well && err == nil && current && c.log.shared.ended.Load() == nil; !well && time.Now().After(deadline) {
				s.t.Errorf("gateway %d is stuck: Sync() = %v, Err() = %v, applied %d of %d, trimmed %d, whole %t, made anew %d times", c.number, err, c.log.Err(),
					c.log.shared.applied.Load(), s.memory.Len(), s.memory.Trimmed(), c.log.Whole(), c.log.shared.rebuilt.Load())
				return false
			}
		}
		if well {
			return true
		}
	}
}

// still waits until all have applied all commits.
func (s *soak) still(all []*soakCopy) bool {
	for deadline := time.Now().Add(patience); ; {
		same := true
		for _, c := range all {
			_, current := c.log.CatchUp()
			same = same && current && c.log.shared.applied.Load() == uint64(s.memory.Len())
			if !same && time.Now().After(deadline) {
				s.t.Errorf("gateway %d is stuck: Err() = %v, applied %d of %d, trimmed %d, whole %t, made anew %d times", c.number, c.log.Err(),
					c.log.shared.applied.Load(), s.memory.Len(), s.memory.Trimmed(), c.log.Whole(), c.log.shared.rebuilt.Load())
				return false
			}
		}
		if same {
			return true
		}
		<-time.After(2 * time.Millisecond)
	}
}

func (s *soak) goOn(c *soakCopy) {
	s.bodies++
	body := fmt.Sprint("event ", s.bodies)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	receipt := mustAppend(s.t, c.log, "", body)
	s.mu.Lock()
	s.acked[body] = receipt.Position
	s.mu.Unlock()
	for i := range 3 {
		scope := fmt.Sprint("scope ", i)
		term, err := c.log.AcquireScope(ctx, scope)
		if err != nil {
			s.t.Errorf("AcquireScope() = %v", err)
		}
		if term <= s.terms[scope] {
			s.t.Errorf("term %d of %s is given after %d", term, scope, s.terms[scope])
		}
		if old := s.terms[scope]; old > 0 {
			if err := c.log.CommitScope(ctx, scope, old, nil); !errors.Is(err, eventlog.ErrScopeLost) {
				s.t.Errorf("the owner of %s from before: %v", scope, err)
			}
		}
		s.terms[scope] = term
	}
}

// judgeCopy compares what a gateway has with what the commits say.
func (s *soak) judgeCopy(n int, log *Log, m *soakModel) {
	got := pairsOf(s.t, log)
	for key, value := range m.pairs {
		if isMeta([]byte(key), metaClock) {
			continue
		}
		if p, err := parseEventKey([]byte(key)); err == nil && p <= log.Bounds().Trimmed {
			continue
		}
		if got[key] != value {
			s.problem("gateway %d: key %q is %q, want %q", n, key, got[key], value)
		}
	}
	for key := range got {
		if _, ok := m.pairs[key]; !ok && !isMeta([]byte(key), metaKeyspace) && !isMeta([]byte(key), metaLogID) && !isMeta([]byte(key), metaTrimmed) {
			s.problem("gateway %d: key %q is too many", n, key)
		}
	}
	after := log.Bounds().Trimmed
	for again := true; again; {
		again = false
		for record, err := range log.Read(s.t.Context(), after) {
			damaged := (*eventlog.DamagedError)(nil)
			switch {
			case errors.As(err, &damaged):
				for p := damaged.After + 1; p <= damaged.UpTo; p++ {
					if body, ok := m.events[p]; ok {
						s.problem("gateway %d: event %d, %q, is said to be damaged", n, p, body)
					}
				}
				after, again = damaged.UpTo, true
			case err != nil:
				s.problem("gateway %d: Read(%d) = %v", n, after, err)
			default:
				if body := bodyOf(record.Position, record.Value()); m.events[record.Position] != body || record.Position != after+1 {
					s.problem("gateway %d: event %d is %q, want %q", n, record.Position, body, m.events[record.Position])
				}
				after = record.Position
			}
		}
	}
	if after != log.Bounds().Head {
		s.problem("gateway %d: it reads up to %d of %+v", n, after, log.Bounds())
	}
	if a, b := fmt.Sprint(log.History().Starts()), fmt.Sprint(s.copies[0].log.History().Starts()); a != b {
		s.problem("epochs of %d: %v, want %v", n, a, b)
	}
}

// judgeAcked: what was acknowledged was stored in the commit log, and is where it was said to be.
func (s *soak) judgeAcked(m *soakModel) {
	where := make(map[string]eventlog.Position)
	for p, body := range m.events {
		if was, ok := where[body]; ok {
			s.t.Errorf("%q is at %d and at %d", body, was, p)
		}
		where[body] = p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stored := make(map[string]bool)
	for _, bytes := range s.landed {
		var c commitlogv1.Commit
		if err := unmarshalCommit(bytes, &c); err != nil {
			s.t.Fatal(err)
		}
		for _, o := range c.GetOperations() {
			if p, err := parseEventKey(o.GetKey()); err == nil && o.Value != nil {
				stored[bodyOf(p, o.GetValue())] = true
			}
		}
	}
	s.lost = 0
	for body, p := range s.acked {
		at, ok := where[body]
		switch {
		case !stored[body]:
			s.t.Errorf("%q was acknowledged, and never stored", body)
		case !ok:
			s.lost++
		case at != p:
			s.t.Errorf("%q was acknowledged at %d, and is at %d", body, p, at)
		}
	}
}

// A soakReader reads as a subscriber does: it knows what it has seen, and where it is.
type soakReader struct {
	position eventlog.Position
	cursor   string
	seen     map[eventlog.Position]string
	where    string
}

// follow reads on from any gateway.
func (r *soakReader) follow(s *soak, c *soakCopy) {
	log := c.log
	r.where += fmt.Sprintf("; on %d from %d", c.number, r.position)
	for again := true; again; {
		again = false
		history := log.History()
		if !r.know(s, history) || r.position > log.Bounds().Head {
			return
		}
		for record, err := range log.Read(context.Background(), r.position) {
			if err == nil && history != log.History() {
				again = true
				break
			}
			trimmed, damaged := (*eventlog.TrimmedError)(nil), (*eventlog.DamagedError)(nil)
			switch {
			case errors.As(err, &trimmed):
				again = r.skip(s, log, trimmed.Trimmed)
			case errors.As(err, &damaged):
				again = r.skip(s, log, damaged.UpTo)
			case err != nil:
				return
			case record.Position != r.position+1:
				s.t.Errorf("a reader of %d is given %d after %d", c.number, record.Position, r.position)
				return
			default:
				r.seen[record.Position] = bodyOf(record.Position, record.Value())
				r.position, r.cursor = record.Position, history.FormatCursor(record.Position)
			}
		}
	}
}

func (r *soakReader) skip(s *soak, log *Log, to eventlog.Position) bool {
	history := log.History()
	if !r.know(s, history) {
		return false
	}
	r.position, r.cursor = to, history.FormatCursor(to)
	return true
}

// know asks a history for the reader's cursor. If it is lost the reader goes on where it is told to.
func (r *soakReader) know(s *soak, history *eventlog.History) bool {
	if r.position == 0 {
		return true
	}
	p, err := history.ParseCursor(r.cursor)
	lost := (*eventlog.HistoryLostError)(nil)
	switch {
	case errors.As(err, &lost):
		r.where += fmt.Sprintf("; lost from %d to %d", r.position, lost.Last)
		if lost.Last > r.position {
			s.t.Errorf("a reader at %d is told to go on at %d", r.position, lost.Last)
		}
		r.position, r.cursor = lost.Last, history.FormatCursor(lost.Last)
		maps.DeleteFunc(r.seen, func(p eventlog.Position, _ string) bool { return p > lost.Last })
	case err != nil || p != r.position:
		s.t.Errorf("the cursor of %d: %d, %v", r.position, p, err)
		return false
	}
	return true
}

// judge: what the reader has seen is what there is, unless that is lost, which it was told.
func (r *soakReader) judge(s *soak, m *soakModel) {
	for p, body := range r.seen {
		if now, ok := m.events[p]; ok && now != body && p <= r.position {
			s.t.Errorf("a reader at %d has seen %q at %d, where %q is, and is not told%s", r.position, body, p, now, r.where)
		}
	}
}
