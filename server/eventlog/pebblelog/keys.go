package pebblelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// The keyspace. The first byte of a key says what it is. Numbers in keys are
// big-endian, so that they sort.
//
//	d <start of bucket, nanoseconds> <dedup id>   event id that is remembered: see dedup.go
//	e <position>                                  event: see eventlog.Record
//	h <first position>                            epoch that begins there: see eventlog.History
//	l <last position before>                      positions that were lost: see losses.go
//	m <name>                                      facts about the log
//	s <scope> ...                                 state of subscriptions: see state.go
const (
	prefixDedup   = 'd'
	prefixEvent   = 'e'
	prefixHistory = 'h'
	prefixLost    = 'l'
	prefixMeta    = 'm'
)

// keyspaceVersion is the version of the keyspace and of all values in it. Values of
// events have a version of their own besides, see eventlog.ParseRecord: a change of
// theirs MUST change this one too, so that a gateway which does not know them says
// so when it starts, and not at each event.
const keyspaceVersion = 2

// Names of the facts about the log.
const (
	metaKeyspace = "keyspace_version"
	metaLogID    = "log_id"
	metaTrimmed  = "trimmed"
	metaClock    = "clock"
	metaKept     = "kept" // see cut
	// metaTermFloor is what the first term of a scope comes after: see state.go.
	metaTermFloor = "term_floor"
)

func metaKey(name string) []byte { return append([]byte{prefixMeta}, name...) }

// isMeta reports whether a key is that of a fact, without making one.
func isMeta(key []byte, name string) bool {
	return len(key) > 0 && key[0] == prefixMeta && string(key[1:]) == name
}

// lastPosition is behind all events.
const lastPosition = eventlog.Position(math.MaxUint64)

func appendEventKey(b []byte, p eventlog.Position) []byte {
	return binary.BigEndian.AppendUint64(append(b, prefixEvent), uint64(p))
}

func eventKey(p eventlog.Position) []byte { return appendEventKey(make([]byte, 0, 9), p) }

func parseEventKey(key []byte) (eventlog.Position, error) {
	if len(key) != 9 || key[0] != prefixEvent {
		return 0, fmt.Errorf("key %x is not that of an event", key)
	}
	return eventlog.Position(binary.BigEndian.Uint64(key[1:])), nil
}

// epochPair returns the pair that says where an epoch begins.
func epochPair(start eventlog.EpochStart) (key, value []byte) {
	key = binary.BigEndian.AppendUint64([]byte{prefixHistory}, uint64(start.First))
	return key, binary.BigEndian.AppendUint64(nil, uint64(start.Epoch))
}

func parseEpochPair(key, value []byte) (eventlog.EpochStart, error) {
	if len(key) != 9 || len(value) != 8 {
		return eventlog.EpochStart{}, fmt.Errorf("the pair %x, %x is not that of an epoch", key, value)
	}
	return eventlog.EpochStart{
		Epoch: eventlog.Epoch(binary.BigEndian.Uint64(value)),
		First: eventlog.Position(binary.BigEndian.Uint64(key[1:])),
	}, nil
}

// eventKeysAfter returns the bounds of the keys of the events strictly after a
// position and up to another.
func eventKeysAfter(after, upTo eventlog.Position) (lower, upper []byte) {
	if upTo == lastPosition {
		return eventKey(after + 1), []byte{prefixEvent + 1}
	}
	return eventKey(after + 1), eventKey(upTo + 1)
}

// mark is a position with when its event was received and the totals up to and
// including it. The zero mark is before all events.
type mark struct {
	position    eventlog.Position
	receiveTime time.Time
	totals      eventlog.Totals
}

// markLen is the length of an encoded mark.
const markLen = 32

func markOf(r eventlog.Record) mark {
	return mark{position: r.Position, receiveTime: r.ReceiveTime(), totals: r.Totals()}
}

func (m mark) encode() []byte {
	b := make([]byte, 0, markLen)
	b = binary.BigEndian.AppendUint64(b, uint64(m.position))
	b = binary.BigEndian.AppendUint64(b, uint64(m.receiveTime.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, m.totals.Bytes)
	return binary.BigEndian.AppendUint64(b, m.totals.FailedBytes)
}

func decodeMark(b []byte) (mark, error) {
	if len(b) != markLen {
		return mark{}, errors.New("malformed value")
	}
	return mark{
		position:    eventlog.Position(binary.BigEndian.Uint64(b)),
		receiveTime: time.Unix(0, int64(binary.BigEndian.Uint64(b[8:]))), //nolint:gosec // written from an int64
		totals:      eventlog.Totals{Bytes: binary.BigEndian.Uint64(b[16:]), FailedBytes: binary.BigEndian.Uint64(b[24:])},
	}, nil
}
