package filter

import "slices"

// set is a set of texts: those listed or, if it is inverted, all but those.
type set struct {
	texts    []string // sorted, without duplicates
	inverted bool
}

// anything has every text.
var anything = set{inverted: true}

func (s set) empty() bool { return !s.inverted && len(s.texts) == 0 }

// all reports whether the set has every text.
func (s set) all() bool { return s.inverted && len(s.texts) == 0 }

func (s set) has(text string) bool {
	_, listed := slices.BinarySearch(s.texts, text)
	return listed != s.inverted
}

// and returns what is in both sets.
func (s set) and(o set) set {
	switch {
	case s.inverted && o.inverted:
		return set{texts: merge(s.texts, o.texts, true, true, true), inverted: true}
	case s.inverted:
		return set{texts: merge(s.texts, o.texts, false, false, true)}
	case o.inverted:
		return set{texts: merge(s.texts, o.texts, true, false, false)}
	}
	return set{texts: merge(s.texts, o.texts, false, true, false)}
}

// without returns what is in the set and not in another.
func (s set) without(o set) set { return s.and(o.not()) }

// not returns what is not in the set.
func (s set) not() set { return set{texts: s.texts, inverted: !s.inverted} }

// or returns what is in one of two sets.
func (s set) or(o set) set {
	return s.not().and(o.not()).not()
}

// merge returns, of two sorted lists, what is only in a, in both, only in b, as asked for.
func merge(a, b []string, onlyA, both, onlyB bool) []string {
	var merged []string
	keep := func(text string, wanted bool) {
		if wanted {
			merged = append(merged, text)
		}
	}
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0] < b[0]:
			keep(a[0], onlyA)
			a = a[1:]
		case len(a) == 0 || b[0] < a[0]:
			keep(b[0], onlyB)
			b = b[1:]
		default:
			keep(a[0], both)
			a, b = a[1:], b[1:]
		}
	}
	return merged
}
