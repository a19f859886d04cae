package filter

import (
	"fmt"
	"slices"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// The conditions of a filter, as the sides of a box.
const (
	providerSide = iota
	typeSide
	clientSide
	subjectSide
	verdictSide
	idSide
	sides
)

// fieldNames are the fields of EventFilter that the sides are of.
var fieldNames = [sides]string{"providers", "event_types", "client_ids", "subjects", "verdicts", "provider_event_ids"}

// box is one filter as sets of texts, one for each condition; enums are texts by
// their names. An event is in the box if each side has its value.
type box [sides]set

// everything has every event.
var everything = box{anything, anything, anything, anything, anything, anything}

// failed is the verdict of what failed verification, on the side of verdicts.
var failed = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED.String()

// boxOf returns the box of a normal filter.
func boxOf(f *webhookgatewayv1.EventFilter) box {
	return box{
		providerSide: setOf(names(f.GetProviders())),
		typeSide:     setOf(names(f.GetEventTypes())),
		clientSide:   clientsOf(f),
		subjectSide:  setOf(f.GetSubjects()),
		verdictSide:  setOf(names(f.GetVerdicts())),
		idSide:       setOf(f.GetProviderEventIds()),
	}
}

// clientsOf returns the condition on clients, which names them, or those that it excludes.
func clientsOf(f *webhookgatewayv1.EventFilter) set {
	if len(f.GetClientIds()) == 0 {
		return set{texts: sortedSet(f.GetExcludeClientIds()), inverted: true}
	}
	return setOf(f.GetClientIds())
}

// filter returns the filter of a box of which no side but that of clients is inverted,
// unless it has everything.
func (b box) filter() *webhookgatewayv1.EventFilter {
	f := &webhookgatewayv1.EventFilter{
		Providers:        values[webhookgatewayv1.Provider](b[providerSide], webhookgatewayv1.Provider_value),
		EventTypes:       values[webhookgatewayv1.EventType](b[typeSide], webhookgatewayv1.EventType_value),
		Subjects:         b[subjectSide].texts,
		Verdicts:         values[webhookgatewayv1.VerificationVerdict](b[verdictSide], webhookgatewayv1.VerificationVerdict_value),
		ProviderEventIds: b[idSide].texts,
	}
	if clients := b[clientSide]; clients.inverted {
		f.ExcludeClientIds = clients.texts
	} else {
		f.ClientIds = clients.texts
	}
	return f
}

// all reports whether every event is in the box.
func (b box) all() bool {
	return !slices.ContainsFunc(b[:], func(s set) bool { return !s.all() })
}

func (b box) empty() bool { return slices.ContainsFunc(b[:], set.empty) }

// and returns what is in both boxes.
func (b box) and(o box) box {
	for i := range b {
		b[i] = b[i].and(o[i])
	}
	return b.possible()
}

// in reports whether everything in a box is in another.
func (b box) in(o box) bool {
	b = b.possible()
	for i := range b {
		if !b[i].without(o[i]).empty() {
			return false
		}
	}
	return true
}

// without returns boxes that have together what is in a box and not in another.
func (b box) without(o box) []box {
	if b.and(o).empty() {
		return []box{b}
	}
	var rest []box
	for i := range b {
		part := b
		if part[i] = b[i].without(o[i]); !part[i].empty() {
			if part = part.possible(); !part.empty() {
				rest = append(rest, part)
			}
		}
		b[i] = b[i].and(o[i])
	}
	return rest
}

// differs returns the side in which two boxes differ, false if there is not exactly one.
func (b box) differs(o box) (side int, one bool) {
	for i := range b {
		if b[i].inverted == o[i].inverted && slices.Equal(b[i].texts, o[i].texts) {
			continue
		}
		if one {
			return 0, false
		}
		side, one = i, true
	}
	return side, one
}

// possible returns the box without the types of providers, and the providers of types,
// that are not in it: every type but the unrecognised one is of one provider.
func (b box) possible() box {
	if b[typeSide].inverted {
		return b
	}
	var types, owners []string
	everyOwner := false
	for _, name := range b[typeSide].texts {
		owner, owned := providerOf(webhookgatewayv1.EventType(webhookgatewayv1.EventType_value[name]))
		if owned && !b[providerSide].has(owner.String()) {
			continue
		}
		types = append(types, name)
		owners = append(owners, owner.String())
		everyOwner = everyOwner || !owned
	}
	b[typeSide] = set{texts: types}
	if !everyOwner {
		b[providerSide] = b[providerSide].and(set{texts: sortedSet(owners)})
	}
	return b
}

// setOf returns the set of a condition, of which no texts are none.
func setOf(texts []string) set {
	if len(texts) == 0 {
		return anything
	}
	return set{texts: sortedSet(texts)}
}

func names[E fmt.Stringer](enums []E) []string {
	texts := make([]string, len(enums))
	for i, e := range enums {
		texts[i] = e.String()
	}
	return texts
}

func values[E ~int32](s set, byName map[string]int32) []E {
	var enums []E
	for _, name := range s.texts {
		enums = append(enums, E(byName[name]))
	}
	return sortedSet(enums)
}
