package filter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// OutsideError says what of a filter is outside of limits.
type OutsideError struct {
	// Path of the filter, or of its condition, such as `filters[0].client_ids`.
	Path string
	// Message says what is not allowed. It names nothing but what was asked for.
	Message string
}

func (e *OutsideError) Error() string { return e.Path + ": " + e.Message }

// Within returns the part of a filter that any of some limits allow: its conditions,
// and for those it leaves out the limits'. Errors are an *OutsideError for a value that
// is never allowed, or not together with the other conditions, and one of fielderr if
// there are too many parts.
func (f *Filter) Within(limits ...*Limits) (*Filter, error) {
	if slices.ContainsFunc(limits, (*Limits).Unlimited) {
		return f, nil
	}
	within := &Filter{}
	for i := range f.conditions {
		parts, err := f.parts(i, limits)
		if err != nil {
			return nil, err
		}
		for _, p := range parts {
			within.add(p.filter(), p.leavesOut, f.conditions[i].index)
		}
	}
	if n := len(within.normal); n > maxFilters {
		return nil, fielderr.New("filters", "together with what is granted these are %d filters, and at most %d are possible: give fewer, or name more conditions", n, maxFilters)
	}
	return within, nil
}

// part is what is both in a filter and within a limit.
type part struct {
	box
	// leavesOut: it is told how many others failed verification.
	leavesOut bool
}

// parts returns what limits allow of one filter, without what is in another part.
func (f *Filter) parts(i int, limits []*Limits) ([]part, error) {
	asked, anyButFailed := boxOf(f.normal[i]), f.conditions[i].anyButFailed
	if err := f.outside(i, limits); err != nil {
		return nil, err
	}
	leftOut := asked
	leftOut[verdictSide] = set{texts: []string{failed}}
	var parts []part
	onlyFailed := false
	for _, l := range limits {
		for _, limit := range l.boxes {
			limit = l.askable(limit, asked)
			p := part{box: asked.and(limit), leavesOut: anyButFailed && !leftOut.and(limit).empty()}
			if p.empty() {
				onlyFailed = onlyFailed || p.leavesOut
				continue
			}
			if asked[providerSide].all() && limit[providerSide].all() {
				p.box[providerSide] = anything // what the types tell needs no words
			}
			parts = addPart(parts, p)
		}
	}
	path := fmt.Sprintf("filters[%d]", f.conditions[i].index)
	switch {
	case len(parts) == 0 && onlyFailed:
		return nil, &OutsideError{Path: path + ".verdicts", Message: "only what failed verification may be granted: name " + failed}
	case len(parts) == 0:
		return nil, &OutsideError{Path: path, Message: "these conditions are not granted together"}
	}
	for side, wanted := range asked.possible() {
		if !f.named(i, side) {
			continue
		}
		for _, p := range parts {
			wanted = wanted.without(p.possible()[side])
		}
		if !wanted.empty() {
			return nil, &OutsideError{Path: path + "." + fieldNames[side], Message: "not granted together with the other conditions: " + list(wanted.texts)}
		}
	}
	return parts, nil
}

// addPart adds a part: not if it is in another, without those that are in it, and as one
// with another from which it differs in one side only.
func addPart(parts []part, p part) []part {
	in := func(a, b part) bool { return a.in(b.box) && (b.leavesOut || !a.leavesOut) }
	if slices.ContainsFunc(parts, func(o part) bool { return in(p, o) }) {
		return parts
	}
	parts = slices.DeleteFunc(parts, func(o part) bool { return in(o, p) })
	for i, o := range parts {
		if side, one := o.differs(p.box); one && o.leavesOut == p.leavesOut {
			p.box[side] = p.box[side].or(o.box[side])
			return addPart(slices.Delete(parts, i, i+1), p)
		}
	}
	return append(parts, p)
}

// outside returns an error for the values of a filter that no limit allows, whatever
// else is asked for.
func (f *Filter) outside(i int, limits []*Limits) error {
	asked := boxOf(f.normal[i])
	for side, wanted := range asked.possible() {
		if !f.named(i, side) {
			continue
		}
		alone := everything
		alone[side] = wanted
		for _, l := range limits {
			for _, limit := range l.boxes {
				wanted = wanted.without(alone.and(l.askable(limit, asked))[side])
			}
		}
		if !wanted.empty() {
			return &OutsideError{Path: fmt.Sprintf("filters[%d].%s", f.conditions[i].index, fieldNames[side]), Message: "not granted: " + list(wanted.texts)}
		}
	}
	return nil
}

// named reports whether a filter names values of a side.
func (f *Filter) named(i, side int) bool {
	b := boxOf(f.normal[i])
	return !b[side].inverted && (side != verdictSide || !f.conditions[i].anyButFailed)
}

// list writes the first of some texts.
func list(texts []string) string {
	const most = 3
	quoted := make([]string, 0, most)
	for _, text := range texts[:min(len(texts), most)] {
		quoted = append(quoted, fmt.Sprintf("%q", text))
	}
	if more := len(texts) - most; more > 0 {
		quoted = append(quoted, fmt.Sprintf("%d more", more))
	}
	return strings.Join(quoted, ", ")
}
