package eventlog

import (
	"context"
	"errors"
	"iter"
)

// StateStore keeps small state that changes often, beside the log: that of
// subscriptions. It is divided into scopes, each a set of key-value pairs with one
// owner at a time. Where several gateways share a store, the owner is the one
// that acquired the scope last; it finds out that it no longer is when a commit
// fails.
//
// All methods are safe for concurrent use. An error that is none of the typed
// errors of this package means that the store cannot do it at present.
type StateStore interface {
	// ListScopes yields the names, with a prefix, of the scopes that hold pairs, in any
	// order. It costs what is yielded, not what the others are. An error comes last: with
	// ErrStateDamaged, after those that can be listed nevertheless.
	ListScopes(ctx context.Context, prefix string) iter.Seq2[string, error]

	// AcquireScope makes the caller the owner of a scope, which need not exist, and
	// returns its term: larger than every earlier one of this scope, across
	// restarts. What earlier owners committed is durable when it returns; what they
	// commit later fails. The name has 1 to MaxScopeLen bytes.
	AcquireScope(ctx context.Context, scope string) (term uint64, err error)

	// ReadScope yields the pairs of a scope from a key up to, not including,
	// another, in the order of their keys; nil is no bound. It costs what is yielded,
	// not what is in the range. Their bytes are valid only until the next iteration.
	//
	// It sees every commit that has returned, and may see those that have not.
	ReadScope(ctx context.Context, scope string, from, to []byte) iter.Seq2[StatePair, error]

	// CommitScope applies mutations in order, all or none. When it returns without
	// error they are durable. Concurrent callers, and the appends of the log if the
	// engine can, share an fsync. If the term is not that of the owner nothing is
	// applied and it returns ErrScopeLost. When it returns another error, the
	// mutations may or may not become visible later.
	//
	// The bytes of the mutations must not change afterwards.
	CommitScope(ctx context.Context, scope string, term uint64, mutations []StateMutation) error

	// DropScope removes the pairs of a scope for good and ends the term: whatever the
	// owner commits afterwards, or at the same time, either comes before the drop or
	// fails with ErrScopeLost, and leaves nothing. Otherwise it is like CommitScope.
	// The terms of the scope go on increasing.
	DropScope(ctx context.Context, scope string, term uint64) error
}

// MaxScopeLen is the longest name of a scope, in bytes.
const MaxScopeLen = 64

// ReservedPrefix begins the names of scopes that are not of subscriptions.
const ReservedPrefix = "\x00"

// StatePair is a key with its value.
type StatePair struct {
	Key, Value []byte
}

// StateMutation sets a key, or deletes it, or deletes a range of keys.
type StateMutation struct {
	Key, Value []byte
	// Delete the key. With End, delete all keys from Key, which may be empty, up to,
	// not including, End. How much there is makes no difference.
	Delete bool
	End    []byte
}

// ErrStateDamaged is returned for state that was stored and cannot be read any more.
var ErrStateDamaged = errors.New("the state is damaged")

// ErrScopeLost is returned to who no longer owns a scope.
var ErrScopeLost = errors.New("the state has another owner")
