package subscription

import (
	"maps"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// The events after the cursor that are settled or apart are marked in blocks of
// positions.
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
	m.touch(pairBlock, eventlog.Position(n))
}

func (m *machine) markedSettled(p eventlog.Position) bool {
	block := m.settled[uint64(p)/blockBits]
	return block != nil && block[p%blockBits/8]&(1<<(p%8)) != 0
}

// dropBlocks forgets the blocks that the cursor has passed.
func (m *machine) dropBlocks(from, to eventlog.Position) {
	first, last := uint64(from)/blockBits, (uint64(to)+1)/blockBits
	if last-first > uint64(len(m.settled)) {
		maps.DeleteFunc(m.settled, func(n uint64, _ *[blockBytes]byte) bool {
			if n >= last {
				return false
			}
			m.touch(pairBlock, eventlog.Position(n))
			return true
		})
		return
	}
	for n := first; n < last; n++ {
		if _, ok := m.settled[n]; ok {
			delete(m.settled, n)
			m.touch(pairBlock, eventlog.Position(n))
		}
	}
}
