package pebblelog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// The state of subscriptions shares the database, its batches and their fsyncs
// with the events. Its keys:
//
//	s <length of scope> <scope> e         term of the owner
//	s <length of scope> <scope> k <key>   pair
//
// A term tells apart those who acquired a scope: in this process, and of gateways that share
// the log in all of them.
const (
	prefixState = 's'
	kindTerm    = 'e'
	kindPair    = 'k'
)

var _ eventlog.StateStore = (*Log)(nil)

func stateKey(scope string, kind byte) []byte {
	b := append([]byte{prefixState, byte(len(scope))}, scope...) //nolint:gosec // at most MaxScopeLen
	return append(b, kind)
}

func checkScope(scope string) error {
	if scope == "" || len(scope) > eventlog.MaxScopeLen {
		return fmt.Errorf("the name of a scope has 1 to %d bytes, this has %d", eventlog.MaxScopeLen, len(scope))
	}
	return nil
}

// ListScopes implements eventlog.StateStore. If something is damaged it yields those
// that come before it and those that come after it.
func (l *Log) ListScopes(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var scopes []string
		all, upper := []byte{prefixState}, []byte{prefixState + 1}
		err := l.readState(ctx, all, upper, func(it *pebble.Iterator) error {
			scopes = scopesForwards(it, prefix)
			return nil
		})
		if errors.Is(err, eventlog.ErrStateDamaged) {
			last := ""
			if n := len(scopes); n > 0 {
				last = scopes[n-1]
			}
			var behind []string
			err = l.readState(ctx, stateKey(last, kindPair+1), upper, func(it *pebble.Iterator) error {
				behind = scopesBackwards(it, prefix)
				return nil
			})
			scopes = append(scopes, behind...)
		}
		for _, scope := range scopes {
			if !yield(scope, nil) {
				return
			}
		}
		if err != nil {
			yield("", fmt.Errorf("list the scopes of state: %w", err))
		}
	}
}

// scopesForwards returns the scopes with a prefix that hold pairs, up to what is damaged. If
// that may be a pair of a scope, the scope comes last.
func scopesForwards(it *pebble.Iterator, prefix string) (scopes []string) {
	for ok := it.First(); ok; {
		scope, sound := scopeOf(it.Key())
		if !sound {
			ok = it.Next()
			continue
		}
		if !strings.HasPrefix(scope, prefix) {
			ok = it.SeekGE(nextPrefixed(scope, prefix))
			continue
		}
		ok = it.SeekGE(stateKey(scope, kindPair))
		if it.Error() != nil {
			return append(scopes, scope)
		}
		if ok && bytes.HasPrefix(it.Key(), stateKey(scope, kindPair)) {
			scopes = append(scopes, scope)
			ok = it.SeekGE(stateKey(scope, kindPair+1))
		}
	}
	return scopes
}

// nextPrefixed returns where the scopes with a prefix go on after one that has another. Keys
// are sorted by the length of their scope first.
func nextPrefixed(scope, prefix string) []byte {
	length := len(scope)
	if scope > prefix {
		length++
	}
	return append([]byte{prefixState, byte(max(length, len(prefix)))}, prefix...) //nolint:gosec // at most MaxScopeLen+1
}

// scopesBackwards returns the scopes with a prefix that hold pairs, from the last back to
// what is damaged.
func scopesBackwards(it *pebble.Iterator, prefix string) (scopes []string) {
	for ok := it.Last(); ok; {
		scope, sound := scopeOf(it.Key())
		if !sound {
			ok = it.Prev()
			continue
		}
		if strings.HasPrefix(scope, prefix) && bytes.HasPrefix(it.Key(), stateKey(scope, kindPair)) { // they come last
			scopes = append(scopes, scope)
		}
		ok = it.SeekLT(stateKey(scope, 0))
	}
	return scopes
}

// AcquireScope implements eventlog.StateStore.
func (l *Log) AcquireScope(ctx context.Context, scope string) (uint64, error) {
	if err := checkScope(scope); err != nil {
		return 0, err
	}
	var term uint64
	err := l.write(ctx, kindState, func(c *committer, b *pebble.Batch) (err error) {
		term, err = l.terms.begin(c.store, scope, b)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("acquire the state of %q: %w", scope, err)
	}
	return term, nil
}

// ReadScope implements eventlog.StateStore.
func (l *Log) ReadScope(ctx context.Context, scope string, from, to []byte) iter.Seq2[eventlog.StatePair, error] {
	return func(yield func(eventlog.StatePair, error) bool) {
		prefix := stateKey(scope, kindPair)
		lower, upper := append(prefix[:len(prefix):len(prefix)], from...), stateKey(scope, kindPair+1)
		if to != nil {
			upper = append(prefix[:len(prefix):len(prefix)], to...)
		}
		stopped := false
		err := l.readState(ctx, lower, upper, func(it *pebble.Iterator) error {
			for ok := it.First(); ok; ok = it.Next() {
				value, err := it.ValueAndErr()
				if err != nil {
					return err
				}
				if stopped = !yield(eventlog.StatePair{Key: it.Key()[len(prefix):], Value: value}, nil); stopped {
					return nil
				}
			}
			return nil
		})
		if err != nil && !stopped {
			yield(eventlog.StatePair{}, fmt.Errorf("read the state of %q: %w", scope, err))
		}
	}
}

// CommitScope implements eventlog.StateStore.
func (l *Log) CommitScope(ctx context.Context, scope string, term uint64, mutations []eventlog.StateMutation) error {
	prefix := stateKey(scope, kindPair)
	return l.writeScope(ctx, scope, term, func(_ *committer, b *pebble.Batch) error {
		for _, m := range mutations {
			if m.Delete && m.End != nil {
				start := append(prefix[:len(prefix):len(prefix)], m.Key...)
				if err := b.DeleteRange(start, append(prefix[:len(prefix):len(prefix)], m.End...), nil); err != nil {
					return err
				}
				continue
			}
			if m.Delete {
				op := b.DeleteDeferred(len(prefix) + len(m.Key))
				copy(op.Key[copy(op.Key, prefix):], m.Key)
				if err := op.Finish(); err != nil {
					return err
				}
				continue
			}
			op := b.SetDeferred(len(prefix)+len(m.Key), len(m.Value))
			copy(op.Key[copy(op.Key, prefix):], m.Key)
			copy(op.Value, m.Value)
			if err := op.Finish(); err != nil {
				return err
			}
		}
		return nil
	})
}

// DropScope implements eventlog.StateStore.
func (l *Log) DropScope(ctx context.Context, scope string, term uint64) error {
	return l.writeScope(ctx, scope, term, func(c *committer, b *pebble.Batch) error {
		// NOTE A new term that nobody is given: a commit that is under way, or comes
		// later in this very batch, fails.
		if _, err := l.terms.begin(c.store, scope, b); err != nil {
			return err
		}
		return b.DeleteRange(stateKey(scope, kindPair), stateKey(scope, kindPair+1), nil)
	})
}

func (l *Log) writeScope(ctx context.Context, scope string, term uint64, add func(*committer, *pebble.Batch) error) error {
	if err := checkScope(scope); err != nil {
		return err
	}
	err := l.write(ctx, kindState, func(c *committer, b *pebble.Batch) error {
		owner, err := l.terms.current(c.store, scope)
		switch {
		case err != nil:
			return err
		case owner != term:
			return eventlog.ErrScopeLost
		}
		return add(c, b)
	})
	if err != nil {
		return fmt.Errorf("write the state of %q: %w", scope, err)
	}
	return nil
}

// terms knows the terms of scopes, also of those that the batch being built
// changes, which cannot be read yet. Only the committer uses it.
type terms struct {
	store *store // the opening that they are of
	known map[string]uint64
}

// current returns the term of the owner of a scope. See store.term.
func (t *terms) current(s *store, scope string) (uint64, error) {
	if t.store != s {
		// NOTE What was in a batch that failed is not true any more.
		t.store, t.known = s, make(map[string]uint64)
	}
	if term, ok := t.known[scope]; ok {
		return term, nil
	}
	term, err := s.term(scope)
	if err == nil {
		t.known[scope] = term
	}
	return term, err
}

// begin begins the next term of a scope.
func (t *terms) begin(s *store, scope string, b *pebble.Batch) (uint64, error) {
	term, err := t.current(s, scope)
	if err != nil {
		return 0, err
	}
	term++
	if err := b.Set(stateKey(scope, kindTerm), binary.BigEndian.AppendUint64(nil, term), nil); err != nil {
		return 0, err
	}
	t.known[scope] = term
	return term, nil
}

// readState reads keys from lower up to, not including, upper.
func (l *Log) readState(ctx context.Context, lower, upper []byte, read func(*pebble.Iterator) error) (err error) {
	l.storeMu.RLock()
	defer l.storeMu.RUnlock()
	if l.store == nil {
		return eventlog.ErrClosed
	}
	it, err := l.store.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	defer func() { err = l.store.stateError(errors.Join(err, it.Error(), it.Close())) }()
	return read(it)
}

// stateError makes damage of state an error that says so.
func (s *store) stateError(err error) error {
	if s.isDamage(err) {
		return fmt.Errorf("%w: %w", eventlog.ErrStateDamaged, err)
	}
	return err
}

// term reads the term of the owner of a scope. If it never had one it returns what its first one
// comes after.
func (s *store) term(scope string) (uint64, error) {
	value, closer, err := s.db.Get(stateKey(scope, kindTerm))
	if errors.Is(err, pebble.ErrNotFound) {
		return s.termFloor()
	}
	if err != nil {
		return 0, fmt.Errorf("read the term of the state of %q: %w", scope, s.stateError(err))
	}
	if len(value) != 8 {
		return 0, errors.Join(fmt.Errorf("%w: the term of the state of %q is malformed", eventlog.ErrStateDamaged, scope), closer.Close())
	}
	return binary.BigEndian.Uint64(value), closer.Close()
}

// termLeap is how far the terms of scopes leap when writes were lost: farther than
// those that were lost can have gone.
const termLeap = 1 << 12

// termFloor reads what the first term of a scope comes after. It leaps, too: what was lost may
// have scopes that are not known any more.
func (s *store) termFloor() (uint64, error) {
	value, err := s.meta(metaTermFloor)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, s.stateError(err)
	case len(value) != 8:
		return 0, fmt.Errorf("%w: %w: where terms begin is malformed", eventlog.ErrStateDamaged, pebble.ErrCorruption)
	}
	return binary.BigEndian.Uint64(value), nil
}

// leapTerms has the terms of all scopes leap. Those that were lost are never given
// again: a token from then settles nothing.
func (s *store) leapTerms(b *pebble.Batch) (err error) {
	floor, floorErr := s.termFloor()
	if floorErr == nil {
		floorErr = b.Set(metaKey(metaTermFloor), binary.BigEndian.AppendUint64(nil, floor+termLeap), nil)
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixState}, UpperBound: []byte{prefixState + 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(floorErr, err, it.Error(), it.Close()) }()
	for ok := it.First(); ok; {
		scope, ok2 := scopeOf(it.Key())
		if !ok2 {
			ok = it.Next()
			continue
		}
		if key := stateKey(scope, kindTerm); bytes.Equal(it.Key(), key) && len(it.Value()) == 8 {
			term := binary.BigEndian.Uint64(it.Value()) + termLeap
			if err := b.Set(key, binary.BigEndian.AppendUint64(nil, term), nil); err != nil {
				return err
			}
		}
		ok = it.SeekGE(stateKey(scope, kindTerm+1))
		if ok && bytes.HasPrefix(it.Key(), stateKey(scope, kindPair)) {
			ok = it.SeekGE(stateKey(scope, kindPair+1))
		}
	}
	return nil
}

// scopeOf returns the scope that a key of state belongs to.
func scopeOf(key []byte) (string, bool) {
	if len(key) < 3 || len(key) < 2+int(key[1])+1 {
		return "", false
	}
	return string(key[2 : 2+int(key[1])]), true
}
