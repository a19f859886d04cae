package filter

import (
	"fmt"
	"slices"
	"strings"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// maxPieces bounds the search of CoveredBy, which refuses what it cannot prove.
const maxPieces = 1000

// CoveredBy returns nil if everything that the filter matches is allowed by one of some
// limits, and an *OutsideError otherwise.
func (f *Filter) CoveredBy(limits ...*Limits) error {
	if slices.ContainsFunc(limits, (*Limits).Unlimited) {
		return nil
	}
	for i, normal := range f.normal {
		if covered(boxOf(normal), limits, (*Limits).askable) {
			continue
		}
		if err := f.outside(i, limits); err != nil {
			return err
		}
		path := fmt.Sprintf("filters[%d]", f.conditions[i].index)
		if missing := missing(boxOf(normal), limits); len(missing) > 0 {
			return &OutsideError{Path: path, Message: "it selects more than is granted: name " + strings.Join(missing, ", ")}
		}
		return &OutsideError{Path: path, Message: "it selects more than is granted"}
	}
	return nil
}

// AllowAll reports whether every event that a filter matches is allowed by one of some
// limits. Unlike CoveredBy it is not about whether somebody may ask for them: limits that hide
// subjects allow to be shown the events of one. The filter is taken as it is: one that names
// no verdicts matches all of them.
func AllowAll(f *webhookgatewayv1.EventFilter, limits ...*Limits) bool {
	return slices.ContainsFunc(limits, (*Limits).Unlimited) ||
		covered(boxOf(f), limits, func(_ *Limits, limit, _ box) box { return limit })
}

// covered reports whether everything in a box is allowed. It takes from the box what
// each limit allows, as a function restricts it, and looks whether pieces are left.
func covered(asked box, limits []*Limits, restrict func(l *Limits, limit, asked box) box) bool {
	pieces := []box{asked.possible()}
	for _, l := range limits {
		for _, limit := range l.boxes {
			limit = restrict(l, limit, asked)
			var rest []box
			for _, piece := range pieces {
				rest = append(rest, piece.without(limit)...)
			}
			if len(rest) > maxPieces {
				return false
			}
			pieces = rest
		}
	}
	return len(pieces) == 0
}

// missing returns the conditions that a filter leaves out and every limit has.
func missing(asked box, limits []*Limits) []string {
	var fields []string
	for side := range asked {
		restricts := func(b box) bool { return !asked[side].without(b[side]).empty() }
		if asked[side].inverted && !slices.ContainsFunc(limits, func(l *Limits) bool { return !all(l.boxes, restricts) }) {
			fields = append(fields, fieldName(side, limits))
		}
	}
	return fields
}

// fieldName returns the field in which to give what a filter leaves out of a side.
func fieldName(side int, limits []*Limits) string {
	excludes := func(b box) bool { return b[side].inverted }
	if side == clientSide && all(limits, func(l *Limits) bool { return all(l.boxes, excludes) }) {
		return "exclude_client_ids"
	}
	return fieldNames[side]
}

func all[T any](list []T, f func(T) bool) bool {
	return !slices.ContainsFunc(list, func(one T) bool { return !f(one) })
}

// LeftOut returns the filter of the events that are left out only because the filter
// names no verdicts, nil if there are none.
func (f *Filter) LeftOut() *Filter {
	var leftOut Filter
	for i, c := range f.conditions {
		if !c.anyButFailed {
			continue
		}
		b := boxOf(f.normal[i])
		b[verdictSide] = set{texts: []string{failed}}
		leftOut.add(b.filter(), false, c.index)
	}
	if len(leftOut.normal) == 0 {
		return nil
	}
	return &leftOut
}
