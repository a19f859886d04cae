package access

import (
	"slices"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
)

// masks finds out which classes are masked in an event.
type masks struct {
	classes []string // sorted: the bits of a class are those of its place
	limits  []*filter.Limits
	// ofGrant has the classes that each grant masks.
	ofGrant []uint64
	lists   map[uint64][]string
}

// newMasks returns nil if no grant masks anything.
func newMasks(grants []*Grant, limits []*filter.Limits) *masks {
	m := &masks{limits: limits, lists: map[uint64][]string{}}
	for _, g := range grants {
		m.classes = append(m.classes, g.Mask...)
	}
	if len(m.classes) == 0 {
		return nil
	}
	slices.Sort(m.classes)
	m.classes = slices.Compact(m.classes)
	for _, g := range grants {
		var bits uint64
		for _, class := range g.Mask {
			i, _ := slices.BinarySearch(m.classes, class)
			bits |= 1 << i
		}
		m.ofGrant = append(m.ofGrant, bits)
	}
	return m
}

// of returns the classes that every grant of an event masks.
func (m *masks) of(record eventlog.Record) []string {
	bits := ^uint64(0)
	for i, l := range m.limits {
		if bits&m.ofGrant[i] != bits && l.Allow(record) {
			bits &= m.ofGrant[i]
		}
		if bits == 0 {
			return nil
		}
	}
	list, ok := m.lists[bits]
	if !ok {
		for i, class := range m.classes {
			if bits&(1<<i) != 0 {
				list = append(list, class)
			}
		}
		m.lists[bits] = list
	}
	return list
}
