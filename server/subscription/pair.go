package subscription

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// What is durable of a subscription is a set of pairs. Of its own pairs the
// machine keeps only which of them changed: one that changes a thousand times
// between two writes is written once. A key is the kind and a number, big-endian;
// the definition has none, and the key of q ends with another number.
//
//	b <block>             which events after the cursor are settled or apart
//	c <position>          copy of an event that is apart, and was parked
//	d                     definition and key of the seal
//	n 0                   how many events are parked
//	p <position>          parked event, with its copy
//	q <time> <position>   when it was parked
//	s 0                   cursor, and the gaps that nobody was told of
//	w <position>          event that is apart: it waits, or is delivered again
//
// The machine loads b, s and w, and never has what is in the others.
type pairKind byte

const (
	pairBlock      pairKind = 'b'
	pairCopy       pairKind = 'c'
	pairCount      pairKind = 'n'
	pairParked     pairKind = 'p'
	pairParkedTime pairKind = 'q'
	pairPlace      pairKind = 's'
	pairApart      pairKind = 'w'
)

// change names a pair of the machine that changed.
type change struct {
	kind   pairKind
	number uint64
}

func (c change) key() []byte {
	return binary.BigEndian.AppendUint64([]byte{byte(c.kind)}, c.number)
}

func (c change) malformed() error {
	return fmt.Errorf("its pair %c %d is malformed", c.kind, c.number)
}

func (m *machine) touch(kind pairKind, number eventlog.Position) {
	m.changed[change{kind, uint64(number)}] = struct{}{}
}

// changes are pairs to write, and what becomes of parked events.
type changes struct {
	pairs   []eventlog.StateMutation
	parking parkedChanges
}

func (c changes) empty() bool { return len(c.pairs) == 0 && c.parking.empty() }

// dirty reports whether there are changes.
func (m *machine) dirty() bool { return len(m.changed) > 0 || !m.parking.empty() }

// takeChanges returns what changed since the last call.
func (m *machine) takeChanges() changes {
	taken := changes{pairs: make([]eventlog.StateMutation, 0, len(m.changed)), parking: m.parking}
	for c := range m.changed {
		value, ok := m.encode(c)
		taken.pairs = append(taken.pairs, eventlog.StateMutation{Key: c.key(), Value: value, Delete: !ok})
	}
	clear(m.changed)
	m.parking = parkedChanges{each: make(map[eventlog.Position]parkedChange)}
	return taken
}

// untakeChanges takes changes back that may not have become durable.
func (m *machine) untakeChanges(taken changes) {
	for _, pair := range taken.pairs {
		m.changed[change{pairKind(pair.Key[0]), binary.BigEndian.Uint64(pair.Key[1:])}] = struct{}{}
	}
	m.parking.precede(taken.parking)
}

// encode returns the value of a pair, false if there is none.
func (m *machine) encode(c change) ([]byte, bool) {
	switch c.kind {
	case pairPlace:
		return m.encodePlace(), true
	case pairBlock:
		if block, ok := m.settled[c.number]; ok {
			return append([]byte(nil), block[:]...), true
		}
	case pairApart:
		if s, ok := m.apart[eventlog.Position(c.number)]; ok {
			return m.encodeApart(m.at(s)), true
		}
	case pairCopy, pairCount, pairParked, pairParkedTime:
		// NOTE A copy is only ever written beside what is parked: see parkedStore.
	}
	return nil, false
}

// loadPair takes a pair of an earlier machine. The cursor must come before what
// is apart.
func (m *machine) loadPair(key, value []byte) error {
	if len(key) != 9 {
		return errors.New("it has a pair that this version of the gateway does not know")
	}
	c := change{pairKind(key[0]), binary.BigEndian.Uint64(key[1:])}
	switch c.kind {
	case pairPlace:
		return m.decodePlace(c, value)
	case pairBlock:
		if len(value) != blockBytes {
			return c.malformed()
		}
		block := [blockBytes]byte(value)
		m.settled[c.number] = &block
		return nil
	case pairApart:
		return m.decodeApart(c, value)
	case pairCopy, pairCount, pairParked, pairParkedTime:
	}
	return fmt.Errorf("it has a pair of the kind %q, which this version of the gateway does not know", key[0])
}

const gapBytes = 1 + 8 + 8

func (m *machine) encodePlace() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(m.cursor))
	b = binary.BigEndian.AppendUint64(b, m.sought)
	for _, g := range m.gaps {
		b = append(b, byte(g.Reason)) //nolint:gosec // enum values are small
		b = binary.BigEndian.AppendUint64(b, uint64(g.From))
		b = binary.BigEndian.AppendUint64(b, uint64(g.To))
	}
	return b
}

func (m *machine) decodePlace(c change, value []byte) error {
	if len(value) < 16 || (len(value)-16)%gapBytes != 0 || c.number != 0 {
		return c.malformed()
	}
	m.cursor = eventlog.Position(binary.BigEndian.Uint64(value))
	m.read, m.seen = m.cursor, m.cursor
	m.sought = binary.BigEndian.Uint64(value[8:])
	for b := value[16:]; len(b) > 0; b = b[gapBytes:] {
		m.gaps = append(m.gaps, untoldGap{Gap: Gap{
			Reason: webhookgatewayv1.GapReason(b[0]),
			From:   eventlog.Position(binary.BigEndian.Uint64(b[1:])),
			To:     eventlog.Position(binary.BigEndian.Uint64(b[9:])),
		}})
	}
	return nil
}

const apartBytes = 8 + 8 + 2 + 2 + 1 + 1

// encodeApart has the end of the wait as Unix nanoseconds, by the time of the log: the next
// start may be on a machine with another clock.
func (m *machine) encodeApart(e *entry) []byte {
	b := make([]byte, 0, apartBytes)
	due := int64(0)
	if e.stage == waiting {
		due = m.time(e.due).Add(-m.ahead).UnixNano()
	}
	b = binary.BigEndian.AppendUint64(b, uint64(due))
	b = binary.BigEndian.AppendUint64(b, e.hash)
	b = binary.BigEndian.AppendUint16(b, e.attempts)
	b = binary.BigEndian.AppendUint16(b, e.limit)
	return append(b, e.rounds, byte(e.flags&copied))
}

func (m *machine) decodeApart(c change, value []byte) error {
	if len(value) != apartBytes || value[21]&^byte(copied) != 0 || c.number == 0 {
		return c.malformed()
	}
	p := eventlog.Position(c.number)
	if _, known := m.apart[p]; known {
		return c.malformed()
	}
	s := m.newEntry(offer{position: p, hash: binary.BigEndian.Uint64(value[8:])})
	e := m.at(s)
	e.attempts, e.limit = binary.BigEndian.Uint16(value[16:]), binary.BigEndian.Uint16(value[18:])
	e.rounds, e.flags = value[20], flags(value[21])
	if !m.passed(p) {
		m.markSettled(p)
	}
	m.addApart(s)
	m.joinGroup(s)
	// NOTE Nothing waits for longer than a day: the clock was wrong when it was written, or is.
	end := time.Unix(0, int64(binary.BigEndian.Uint64(value))).Add(m.ahead) //nolint:gosec // written from an int64
	due := int64(min(end.Sub(m.start), maxMaxBackoff))
	if due > 0 {
		e.stage, e.due = waiting, due
		m.timers.push(s)
		return nil
	}
	m.promote(s)
	return nil
}
