package refusals

import (
	"cmp"
	"container/list"
	"net/netip"
	"slices"
)

// networks are where the entries of a reason come from. Which one has to go is decided by them.
type networks struct {
	entries int
	// all are those with entries.
	all   []*network
	wider map[widerKey]*wider
}

// network is whose entries are counted together: an IPv4 address, a /64 of IPv6, or those whose
// source is not known.
type network struct {
	of netip.Prefix
	// within are those that it is a part of, the widest first.
	within  [len(widerBits)]*wider
	entries list.List // of *entry, that which changed longest ago first
}

// widerBits are the sizes of the networks of IPv6 of which one has many others: that of a
// provider of internet access, and that of one of its customers.
var widerBits = [...]int{32, 48}

// wider counts the entries of a network that others are parts of.
type wider struct {
	key     widerKey
	entries int
}

type widerKey struct {
	of   netip.Prefix
	bits int // of widerBits: an address of IPv4 is its own network for each
}

func newNetworks() *networks { return &networks{wider: make(map[widerKey]*wider)} }

// add adds an entry as the newest.
func (n *networks) add(e *entry) {
	of := prefixOf(e.source, 64)
	i := slices.IndexFunc(n.all, func(one *network) bool { return one.of == of })
	if i < 0 {
		i = len(n.all)
		n.all = append(n.all, n.newNetwork(of, e.source))
	}
	e.network = n.all[i]
	e.element = e.network.entries.PushBack(e)
	n.count(e.network, 1)
}

func (n *networks) newNetwork(of netip.Prefix, source netip.Addr) *network {
	one := &network{of: of}
	for i, bits := range widerBits {
		key := widerKey{prefixOf(source, bits), bits}
		if n.wider[key] == nil {
			n.wider[key] = &wider{key: key}
		}
		one.within[i] = n.wider[key]
	}
	return one
}

// prefixOf returns the network of a source with so many bits; an address of IPv4 has no others
// beside it. It is the zero Prefix if the source is not known.
func prefixOf(source netip.Addr, bits int) netip.Prefix {
	if source.Is4() {
		bits = source.BitLen()
	}
	prefix, _ := source.Prefix(bits)
	return prefix
}

// count notes that a network has one entry more, or less.
func (n *networks) count(one *network, more int) {
	n.entries += more
	for _, w := range one.within {
		w.entries += more
	}
}

// removeOne removes the entry that has to go: of the network with the most, the one that changed
// longest ago. What has many networks is looked at as a whole first: whoever can send from one
// /64 can mostly send from thousands.
func (n *networks) removeOne() *entry {
	largest := slices.MaxFunc(n.all, compareSize)
	e := largest.oldest()
	largest.entries.Remove(e.element)
	n.count(largest, -1)
	if largest.entries.Len() == 0 {
		n.all = slices.DeleteFunc(n.all, func(one *network) bool { return one == largest })
	}
	for _, w := range largest.within {
		if w.entries == 0 {
			delete(n.wider, w.key)
		}
	}
	return e
}

func compareSize(a, b *network) int {
	for i := range a.within {
		if c := cmp.Compare(a.within[i].entries, b.within[i].entries); c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(a.entries.Len(), b.entries.Len()), cmp.Compare(b.oldest().changed, a.oldest().changed))
}

// oldest returns the entry that changed longest ago.
func (n *network) oldest() *entry {
	e, _ := n.entries.Front().Value.(*entry)
	return e
}
