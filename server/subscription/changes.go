package subscription

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// What is durable of a machine is a set of pairs. The machine keeps only which of
// them changed: a pair that changes a thousand times between two commits is
// written once. A key is the kind and a number, big-endian.
//
//	s 0          cursor, and the gap that no stream was told of
//	b <block>    which events after the cursor are settled
//	a <position> how often an event was delivered, once it was given back
//	p <position> parked event
//	r <position> replayed event
type changeKind byte

const (
	changeState    changeKind = 's'
	changeBlock    changeKind = 'b'
	changeAttempts changeKind = 'a'
	changeParked   changeKind = 'p'
	changeReplay   changeKind = 'r'
)

type change struct {
	kind   changeKind
	number uint64
}

func (m *machine) touch(kind changeKind, number eventlog.Position) {
	m.changed[change{kind, uint64(number)}] = struct{}{}
}

// takeChanges returns the pairs that changed since the last call.
func (m *machine) takeChanges() []eventlog.StateMutation {
	mutations := make([]eventlog.StateMutation, 0, len(m.changed))
	for c := range m.changed {
		value, ok := m.encode(c)
		key := binary.BigEndian.AppendUint64([]byte{byte(c.kind)}, c.number)
		mutations = append(mutations, eventlog.StateMutation{Key: key, Value: value, Delete: !ok})
	}
	clear(m.changed)
	return mutations
}

// untakeChanges marks pairs as changed that may not have become durable.
func (m *machine) untakeChanges(mutations []eventlog.StateMutation) {
	for _, mutation := range mutations {
		m.changed[parseKey(mutation.Key)] = struct{}{}
	}
}

func parseKey(key []byte) change {
	return change{changeKind(key[0]), binary.BigEndian.Uint64(key[1:])}
}

// encode returns the value of a pair, false if there is none.
func (m *machine) encode(c change) ([]byte, bool) {
	p := eventlog.Position(c.number)
	switch c.kind {
	case changeState:
		b := binary.BigEndian.AppendUint64(nil, uint64(m.cursor))
		b = binary.BigEndian.AppendUint64(b, uint64(m.gap.From))
		return binary.BigEndian.AppendUint64(b, uint64(m.gap.To)), true
	case changeBlock:
		if block, ok := m.settled[c.number]; ok {
			return append([]byte(nil), block[:]...), true
		}
	case changeAttempts:
		if attempts, ok := m.attempts[p]; ok {
			return binary.BigEndian.AppendUint16(nil, attempts), true
		}
	case changeParked:
		if i, ok := m.findParked(p); ok {
			return m.parked[i].encode(), true
		}
	case changeReplay:
		if _, ok := m.replays[p]; ok {
			return []byte{}, true
		}
	}
	return nil, false
}

func (p parked) encode() []byte {
	b := []byte{byte(p.reason)} //nolint:gosec // enum values are small
	b = binary.BigEndian.AppendUint16(b, p.attempts)
	b = binary.BigEndian.AppendUint64(b, uint64(p.time.UnixNano()))
	return append(b, p.message...)
}

// load takes a pair of an earlier machine. Replayed events it returns: they are to
// be read and added by addReplay, once all pairs are loaded.
func (m *machine) load(key, value []byte) (replay eventlog.Position, err error) {
	if len(key) != 9 {
		return 0, errors.New("malformed key")
	}
	c := parseKey(key)
	p := eventlog.Position(c.number)
	switch c.kind {
	case changeState:
		if len(value) != 24 {
			return 0, c.malformed()
		}
		m.cursor = eventlog.Position(binary.BigEndian.Uint64(value))
		m.read = m.cursor
		m.gap.From = eventlog.Position(binary.BigEndian.Uint64(value[8:]))
		m.gap.To = eventlog.Position(binary.BigEndian.Uint64(value[16:]))
	case changeBlock:
		if len(value) != blockBytes {
			return 0, c.malformed()
		}
		block := [blockBytes]byte(value)
		m.settled[c.number] = &block
	case changeAttempts:
		if len(value) != 2 {
			return 0, c.malformed()
		}
		m.attempts[p] = binary.BigEndian.Uint16(value)
	case changeParked:
		if len(value) < 11 {
			return 0, c.malformed()
		}
		m.addParked(parked{
			position: p,
			reason:   webhookgatewayv1.ParkReason(value[0]),
			attempts: binary.BigEndian.Uint16(value[1:]),
			time:     time.Unix(0, int64(binary.BigEndian.Uint64(value[3:]))), //nolint:gosec // written from an int64
			message:  string(value[11:]),
		})
	case changeReplay:
		return p, nil
	default:
		return 0, fmt.Errorf("unknown key %q: it was written by a newer gateway", key[0])
	}
	return 0, nil
}

func (c change) malformed() error {
	return fmt.Errorf("malformed value of %c %d", c.kind, c.number)
}

// The settled events after the cursor are marked in blocks of positions.
const (
	blockBits  = 1024
	blockBytes = blockBits / 8
)

func (m *machine) markSettled(p eventlog.Position) {
	n := uint64(p) / blockBits
	block := m.settled[n]
	if block == nil {
		block = new([blockBytes]byte)
		m.settled[n] = block
	}
	block[p%blockBits/8] |= 1 << (p % 8)
	m.touch(changeBlock, eventlog.Position(n))
}

func (m *machine) markedSettled(p eventlog.Position) bool {
	block := m.settled[uint64(p)/blockBits]
	return block != nil && block[p%blockBits/8]&(1<<(p%8)) != 0
}

// dropBlocks forgets the blocks that the cursor leaves behind.
func (m *machine) dropBlocks(from, to eventlog.Position) {
	first, last := uint64(from)/blockBits, (uint64(to)+1)/blockBits
	if last-first > uint64(len(m.settled)) {
		maps.DeleteFunc(m.settled, func(n uint64, _ *[blockBytes]byte) bool {
			if n >= last {
				return false
			}
			m.touch(changeBlock, eventlog.Position(n))
			return true
		})
		return
	}
	for n := first; n < last; n++ {
		if _, ok := m.settled[n]; ok {
			delete(m.settled, n)
			m.touch(changeBlock, eventlog.Position(n))
		}
	}
}
