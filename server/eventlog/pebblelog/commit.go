package pebblelog

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	commitlogv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/commitlog/v1"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// commitVersion is that of the message.
const commitVersion = 1

type commitHash [sha256.Size]byte

// operationsOf returns what a batch changes. They are valid as long as the batch.
func operationsOf(batch *pebble.Batch) ([]*commitlogv1.Operation, error) {
	reader := batch.Reader()
	operations := make([]*commitlogv1.Operation, 0, batch.Count())
	for {
		kind, key, value, ok, err := reader.Next()
		if err != nil {
			return nil, fmt.Errorf("read a batch: %w", err)
		}
		if !ok {
			return operations, nil
		}
		switch kind {
		case pebble.InternalKeyKindSet:
			operations = append(operations, &commitlogv1.Operation{Key: key, Value: value})
			if value == nil {
				operations[len(operations)-1].Value = []byte{}
			}
		case pebble.InternalKeyKindDelete:
			operations = append(operations, &commitlogv1.Operation{Key: key})
		case pebble.InternalKeyKindRangeDelete:
			operations = append(operations, &commitlogv1.Operation{Key: key, End: value})
		default:
			return nil, fmt.Errorf("a batch has an operation of kind %v, which commits do not know", kind)
		}
	}
}

// addOperations adds what a commit changes to a batch.
func addOperations(batch *pebble.Batch, operations []*commitlogv1.Operation) error {
	for _, o := range operations {
		var err error
		switch {
		case o.Value != nil:
			err = batch.Set(o.GetKey(), o.GetValue(), nil)
		case len(o.GetEnd()) > 0:
			err = batch.DeleteRange(o.GetKey(), o.GetEnd(), nil)
		default:
			err = batch.Delete(o.GetKey(), nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// encode encodes a commit of this gateway that comes next.
func (s *shared) encode(c *commitlogv1.Commit) ([]byte, error) {
	s.number++
	c.LogId, c.Gateway, c.Number = s.logID[:], s.gateway, s.number
	c.PreviousHash = s.place.hash[:]
	return encodeCommit(c)
}

func encodeCommit(c *commitlogv1.Commit) ([]byte, error) {
	c.Version, c.Keyspace = commitVersion, keyspaceVersion
	bytes, err := proto.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode a commit: %w", err)
	}
	return bytes, nil
}

func hashOf(c commitlog.Commit) commitHash { return sha256.Sum256(c.Bytes) }

// errOtherHistory is for a commit that does not come after the last one applied: the copy
// here, or the commit log, is not what it was.
var errOtherHistory = errors.New("the commit log does not go on from what this gateway has applied")

// errNoCommit is for what no gateway writes. It may be the rest of a commit that begins before
// the last one applied, in a commit log that has lost its end and goes on.
var errNoCommit = errors.New("the commit log has something else than a commit")

// errNewer is for a commit that only a later version of the gateway can apply.
var errNewer = errors.New("another gateway is newer: upgrade this one")

// decode returns what the commit that comes next says.
func (s *shared) decode(next arrived) (*commitlogv1.Commit, error) {
	c, err := next.message, next.unreadable
	if err == nil && c.GetVersion() == 0 {
		err = errors.New("it has no version")
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w after %d: %w", errNoCommit, s.place.applied, err)
	case c.GetVersion() != commitVersion || c.GetKeyspace() != keyspaceVersion:
		return nil, fmt.Errorf("a commit has version %d and keyspace %d, and this gateway knows %d and %d: %w",
			c.GetVersion(), c.GetKeyspace(), commitVersion, keyspaceVersion, errNewer)
	case isNewer(c):
		return nil, fmt.Errorf("a commit has a field that this gateway does not know: %w", errNewer)
	case string(c.GetLogId()) != string(s.logID[:]):
		return nil, fmt.Errorf("a commit is of the event log %x, and the copy of %v: two logs cannot share a commit log", c.GetLogId(), s.logID)
	case s.place.applied > 0 && string(c.GetPreviousHash()) != string(s.place.hash[:]):
		return nil, fmt.Errorf("%w: the commit after %d says otherwise what came before", errOtherHistory, s.place.applied)
	}
	return c, nil
}

// isNewer reports whether a commit has a field that this gateway does not know. To apply the rest
// of it would make another copy than those of the gateways that know it.
func isNewer(c *commitlogv1.Commit) bool {
	return len(c.ProtoReflect().GetUnknown()) > 0 || slices.ContainsFunc(c.GetOperations(), func(o *commitlogv1.Operation) bool {
		return len(o.ProtoReflect().GetUnknown()) > 0
	})
}

func unmarshalCommit(bytes []byte, c *commitlogv1.Commit) error {
	if err := proto.Unmarshal(bytes, c); err != nil {
		return fmt.Errorf("decode a commit: %w", err)
	}
	return nil
}
