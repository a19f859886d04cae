package pebblelog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	commitlogv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/commitlog/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// A vetting looks at the operations of a commit before any of them is applied: what no
// gateway makes must not get into a copy.
type vetting struct {
	logID eventlog.ID
	// head is the last position that is given. dense is set if the next event has the next one,
	// as everywhere but in a log that is moved or a copy that is not whole.
	head  eventlog.Position
	dense bool
	// starts are the epochs, if they are all known.
	whole  bool
	starts []eventlog.EpochStart
}

// checkOperations returns an error if a commit says what no gateway says.
func (c *committer) checkOperations(commit *commitlogv1.Commit) error {
	s := c.log.shared
	moves := func(o *commitlogv1.Operation) bool {
		return o.Value != nil && isMeta(o.GetKey(), metaMoving)
	}
	v := vetting{
		logID: s.logID, head: c.head.position, whole: s.place.whole, starts: c.history.Starts(),
		dense: s.place.whole && !s.moving && !slices.ContainsFunc(commit.GetOperations(), moves),
	}
	for i, o := range commit.GetOperations() {
		if err := v.check(o); err != nil {
			return fmt.Errorf("operation %d of the commit after %d is not one of a gateway: %w", i, s.place.applied, err)
		}
	}
	return nil
}

func (v *vetting) check(o *commitlogv1.Operation) error {
	key := o.GetKey()
	switch {
	case len(key) == 0:
		return errors.New("it has no key")
	case key[0] != prefixEvent && !slices.ContainsFunc(restatedRanges, func(span [2][]byte) bool { return within(span, key, key) && !bytes.Equal(key, span[1]) }):
		return fmt.Errorf("this gateway does not know the key %x", key)
	case o.Value != nil:
		return v.checkPair(key, o.GetValue())
	case len(o.GetEnd()) == 0:
		return nil
	}
	events := [2][]byte{{prefixEvent}, {prefixEvent + 1}}
	if bytes.Compare(key, o.GetEnd()) > 0 || !slices.ContainsFunc(append(slices.Clip(restatedRanges), events), func(span [2][]byte) bool { return within(span, key, o.GetEnd()) }) {
		return fmt.Errorf("the range from %x to %x is none that is removed", key, o.GetEnd())
	}
	return nil
}

func within(span [2][]byte, from, to []byte) bool {
	return bytes.Compare(span[0], from) <= 0 && bytes.Compare(to, span[1]) <= 0
}

func (v *vetting) checkPair(key, value []byte) error {
	switch key[0] {
	case prefixEvent:
		p, err := parseEventKey(key)
		if err != nil {
			return err
		}
		if p <= v.head || v.dense && p != v.head+1 {
			return fmt.Errorf("event %d comes after event %d", p, v.head)
		}
		v.head = p
		if _, err := eventlog.ParseRecord(p, value, true); err != nil {
			return fmt.Errorf("event %d: %w", p, err)
		}
	case prefixDedup:
		_, _, _, err := parseDedupPair(key, value)
		return err
	case prefixHistory:
		return v.checkEpoch(key, value)
	case prefixLost:
		lost, err := parseLoss(key, value)
		v.head = max(v.head, lost.upTo.position)
		return err
	case prefixMeta:
		return v.checkFact(string(key[1:]), value)
	}
	return nil
}

func (v *vetting) checkEpoch(key, value []byte) error {
	start, err := parseEpochPair(key, value)
	if err != nil || !v.whole || slices.Contains(v.starts, start) {
		return err
	}
	v.starts = withEpoch(v.starts, start)
	_, err = eventlog.NewHistory(v.logID, v.starts...)
	return err
}

func (v *vetting) checkFact(name string, value []byte) (err error) {
	switch name {
	case metaKeyspace:
		if len(value) != 1 || value[0] != keyspaceVersion {
			err = errors.New("another version")
		}
	case metaLogID:
		if string(value) != string(v.logID[:]) {
			err = errors.New("another log")
		}
	case metaTrimmed:
		var trimmed mark
		trimmed, err = decodeMark(value)
		v.head = max(v.head, trimmed.position)
	case metaRestating:
		_, err = decodePass(value)
	case metaRestated:
		_, _, err = decodeRestated(value)
	case metaEpochDue:
		if len(value) != binary.Size(uint64(0)) {
			err = errors.New("malformed value")
		}
	}
	if err != nil {
		return fmt.Errorf("the fact %s: %w", name, err)
	}
	return nil
}
