package pebblelog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// The state of subscriptions shares the database, its batches and their fsyncs
// with the events. Its keys:
//
//	s <length of scope> <scope> e         epoch of the owner
//	s <length of scope> <scope> k <key>   pair
//
// One process has the database open, so an epoch only tells apart those who
// acquired a scope in this process.
const (
	prefixState = 's'
	kindEpoch   = 'e'
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

// ListScopes implements eventlog.StateStore.
func (l *Log) ListScopes(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var scopes []string
		err := l.readState(ctx, []byte{prefixState}, []byte{prefixState + 1}, func(it *pebble.Iterator) error {
			for ok := it.First(); ok; {
				key := it.Key()
				end := 2 + int(key[1])
				scope := string(key[2:end])
				if ok = it.SeekGE(stateKey(scope, kindPair)); !ok {
					break
				}
				if bytes.HasPrefix(it.Key(), stateKey(scope, kindPair)) {
					scopes = append(scopes, scope)
				}
				ok = it.SeekGE(stateKey(scope, kindPair+1))
			}
			return nil
		})
		if err != nil {
			yield("", fmt.Errorf("list the scopes of state: %w", err))
			return
		}
		for _, scope := range scopes {
			if !yield(scope, nil) {
				return
			}
		}
	}
}

// AcquireScope implements eventlog.StateStore.
func (l *Log) AcquireScope(ctx context.Context, scope string) (uint64, error) {
	if err := checkScope(scope); err != nil {
		return 0, err
	}
	// NOTE One at a time: a batch that is being built cannot be read, so two in one
	// batch would get the same epoch.
	l.acquiring.Lock()
	defer l.acquiring.Unlock()
	var epoch uint64
	err := l.write(ctx, func(c *committer, b *pebble.Batch) error {
		last, err := c.store.epoch(scope)
		if err != nil {
			return err
		}
		epoch = last + 1
		return b.Set(stateKey(scope, kindEpoch), binary.BigEndian.AppendUint64(nil, epoch), nil)
	})
	if err != nil {
		return 0, fmt.Errorf("acquire the state of %q: %w", scope, err)
	}
	return epoch, nil
}

// LoadScope implements eventlog.StateStore.
func (l *Log) LoadScope(ctx context.Context, scope string) iter.Seq2[eventlog.StatePair, error] {
	return func(yield func(eventlog.StatePair, error) bool) {
		prefix := stateKey(scope, kindPair)
		stopped := false
		err := l.readState(ctx, prefix, stateKey(scope, kindPair+1), func(it *pebble.Iterator) error {
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
			yield(eventlog.StatePair{}, fmt.Errorf("load the state of %q: %w", scope, err))
		}
	}
}

// CommitScope implements eventlog.StateStore.
func (l *Log) CommitScope(ctx context.Context, scope string, epoch uint64, mutations []eventlog.StateMutation) error {
	prefix := stateKey(scope, kindPair)
	return l.writeScope(ctx, scope, epoch, func(b *pebble.Batch) error {
		for _, m := range mutations {
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
func (l *Log) DropScope(ctx context.Context, scope string, epoch uint64) error {
	return l.writeScope(ctx, scope, epoch, func(b *pebble.Batch) error {
		return b.DeleteRange(stateKey(scope, kindPair), stateKey(scope, kindPair+1), nil)
	})
}

func (l *Log) writeScope(ctx context.Context, scope string, epoch uint64, add func(*pebble.Batch) error) error {
	if err := checkScope(scope); err != nil {
		return err
	}
	err := l.write(ctx, func(c *committer, b *pebble.Batch) error {
		owner, err := c.store.epoch(scope)
		switch {
		case err != nil:
			return err
		case owner != epoch:
			return eventlog.ErrScopeLost
		}
		return add(b)
	})
	if err != nil {
		return fmt.Errorf("write the state of %q: %w", scope, err)
	}
	return nil
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
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
	return read(it)
}

// epoch returns the epoch of the owner of a scope, 0 if it has none.
func (s *store) epoch(scope string) (uint64, error) {
	value, closer, err := s.db.Get(stateKey(scope, kindEpoch))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the epoch of the state of %q: %w", scope, err)
	}
	if len(value) != 8 {
		return 0, errors.Join(fmt.Errorf("the epoch of the state of %q is malformed", scope), closer.Close())
	}
	return binary.BigEndian.Uint64(value), closer.Close()
}
