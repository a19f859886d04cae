// Package filter decides which events somebody gets: it compiles the filters of a
// request, and matches records without decoding them.
package filter

import (
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

const (
	maxFilters = 64
	maxTexts   = 1000
	// maxBytes are of all filters together, encoded. What is valid must fit into a
	// message of gRPC, beside what else is in it: those have 4 MiB by default.
	maxBytes = 1 << 20
)

// Filter matches the events that any of the filters it was compiled from matches.
// It never changes.
type Filter struct {
	normal     []*webhookgatewayv1.EventFilter
	conditions []conditions
}

// Result is what a filter makes of a record.
type Result int

const (
	// Other is a record that is not asked for.
	Other Result = iota
	// Match is a record that is asked for.
	Match
	// LeftOut is a record that failed verification, and is not asked for only because
	// the filter names no verdicts.
	LeftOut
)

// conditions is one compiled filter.
type conditions struct {
	index     int // of the filter in the request
	providers []webhookgatewayv1.Provider
	types     []webhookgatewayv1.EventType
	verdicts  uint32 // a bit for each
	clients   textSet
	excluded  textSet
	subjects  textSet
	ids       textSet
	// anyButFailed: the filter names no verdicts.
	anyButFailed bool
}

// defaults are conditions that a filter has because it leaves them out.
type defaults struct {
	// anyButFailed: the filter names no verdicts.
	anyButFailed bool
	// anyButCanary: the filter does not say whether it wants the events of the canary.
	anyButCanary bool
}

// textSet is a condition on a text. The zero value is none.
type textSet struct {
	given bool
	few   []string // compared one by one
	many  map[string]struct{}
}

// maxFew is how many texts are compared faster than looked up.
const maxFew = 16

// Compile validates filters. No filter is one without conditions. Its errors are
// of fielderr, with paths that begin with `filters`.
func Compile(filters []*webhookgatewayv1.EventFilter) (*Filter, error) {
	if len(filters) > maxFilters {
		return nil, fielderr.New("filters", "%d filters are given: give at most %d", len(filters), maxFilters)
	}
	if len(filters) == 0 {
		filters = []*webhookgatewayv1.EventFilter{{}}
	}
	f := &Filter{}
	size := 0
	for _, one := range filters {
		size += sizeOf(one)
	}
	if size > maxBytes {
		return nil, fielderr.New("filters", "they take %d bytes: give at most %d, or share the conditions among several streams", size, maxBytes)
	}
	for i, one := range filters {
		if err := check(one); err != nil {
			return nil, fielderr.In(fmt.Sprintf("filters[%d]", i), err)
		}
		normal, filledIn := normalise(one)
		f.add(normal, filledIn.anyButFailed, i)
	}
	return f, nil
}

// sizeOf returns how many bytes a filter takes, encoded, without what normalise fills in:
// what is shown may be asked for.
func sizeOf(f *webhookgatewayv1.EventFilter) int {
	verdicts := f.GetVerdicts()[:min(len(f.GetVerdicts()), len(webhookgatewayv1.VerificationVerdict_name)-1)] // once each
	size := proto.Size(f) - proto.Size(&webhookgatewayv1.EventFilter{Verdicts: verdicts})
	if slices.Contains(f.GetExcludeClientIds(), provider.CanaryClientID) {
		size -= proto.Size(&webhookgatewayv1.EventFilter{ExcludeClientIds: []string{provider.CanaryClientID}})
	}
	return size
}

// Normal returns the filters as understood: without duplicates, values sorted,
// defaults filled in. They must not be changed.
func (f *Filter) Normal() []*webhookgatewayv1.EventFilter { return f.normal }

// WithoutTexts returns a filter with `*` for what its conditions on texts name.
func WithoutTexts(f *webhookgatewayv1.EventFilter) *webhookgatewayv1.EventFilter {
	hidden := proto.CloneOf(f)
	for _, texts := range []*[]string{&hidden.ClientIds, &hidden.Subjects, &hidden.ProviderEventIds} {
		if len(*texts) > 0 {
			*texts = []string{"*"}
		}
	}
	if len(hidden.GetExcludeClientIds()) > 1 { // every filter without client_ids excludes the canary
		hidden.ExcludeClientIds = []string{"*", provider.CanaryClientID}
	}
	return hidden
}

// Match returns what the filter makes of a record.
func (f *Filter) Match(r eventlog.Record) Result {
	result := Other
	for i := range f.conditions {
		switch f.conditions[i].match(r) {
		case Match:
			return Match
		case LeftOut:
			result = LeftOut
		case Other:
		}
	}
	return result
}

// add compiles one filter, whose values are sorted, and in which defaults are filled in.
// index is where it stands in the request.
func (f *Filter) add(normal *webhookgatewayv1.EventFilter, anyButFailed bool, index int) {
	if i := slices.IndexFunc(f.normal, func(o *webhookgatewayv1.EventFilter) bool { return proto.Equal(o, normal) }); i >= 0 {
		f.conditions[i].anyButFailed = f.conditions[i].anyButFailed || anyButFailed
		return
	}
	f.normal = append(f.normal, normal)
	f.conditions = append(f.conditions, newConditions(normal, anyButFailed, index))
}

func newConditions(normal *webhookgatewayv1.EventFilter, anyButFailed bool, index int) conditions {
	c := conditions{
		index:        index,
		providers:    normal.GetProviders(),
		types:        normal.GetEventTypes(),
		clients:      newTextSet(normal.GetClientIds()),
		excluded:     newTextSet(normal.GetExcludeClientIds()),
		subjects:     newTextSet(normal.GetSubjects()),
		ids:          newTextSet(normal.GetProviderEventIds()),
		anyButFailed: anyButFailed,
	}
	for _, verdict := range normal.GetVerdicts() {
		c.verdicts |= 1 << verdict
	}
	return c
}

// normalise returns a filter with sorted values and with defaults filled in.
func normalise(one *webhookgatewayv1.EventFilter) (normal *webhookgatewayv1.EventFilter, filledIn defaults) {
	normal = &webhookgatewayv1.EventFilter{
		Providers:        sortedSet(one.GetProviders()),
		EventTypes:       sortedSet(one.GetEventTypes()),
		ClientIds:        sortedSet(one.GetClientIds()),
		Subjects:         sortedSet(one.GetSubjects()),
		Verdicts:         sortedSet(one.GetVerdicts()),
		ProviderEventIds: sortedSet(one.GetProviderEventIds()),
	}
	if len(normal.GetClientIds()) == 0 {
		filledIn.anyButCanary = !slices.Contains(one.GetExcludeClientIds(), provider.CanaryClientID)
		normal.ExcludeClientIds = sortedSet(append([]string{provider.CanaryClientID}, one.GetExcludeClientIds()...))
	}
	if filledIn.anyButFailed = len(normal.GetVerdicts()) == 0; filledIn.anyButFailed {
		normal.Verdicts = []webhookgatewayv1.VerificationVerdict{
			webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED,
			webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_NOT_CHECKED,
		}
	}
	return normal, filledIn
}

func (c *conditions) match(r eventlog.Record) Result {
	verdict := r.Verdict()
	asked := c.verdicts&(1<<verdict) != 0
	if !asked && (!c.anyButFailed || verdict != webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED) {
		return Other
	}
	if len(c.providers) > 0 && !slices.Contains(c.providers, r.Provider()) ||
		len(c.types) > 0 && !slices.Contains(c.types, r.Type()) ||
		c.clients.given && !c.clients.has(r.ClientID()) ||
		c.excluded.given && c.excluded.has(r.ClientID()) ||
		c.subjects.given && !c.subjects.has(r.Subject()) ||
		c.ids.given && !c.ids.has(r.ProviderEventID()) {
		return Other
	}
	if !asked {
		return LeftOut
	}
	return Match
}

func newTextSet(texts []string) textSet {
	if len(texts) <= maxFew {
		return textSet{given: len(texts) > 0, few: texts}
	}
	many := make(map[string]struct{}, len(texts))
	for _, text := range texts {
		many[text] = struct{}{}
	}
	return textSet{given: true, many: many}
}

func (s *textSet) has(text []byte) bool {
	n := len(text)
	for _, one := range s.few {
		// NOTE: Ids are often of one length, and begin alike. Most of them end differently.
		if len(one) == n && (n == 0 || one[n-1] == text[n-1]) && one == string(text) {
			return true
		}
	}
	if s.many == nil {
		return false
	}
	_, ok := s.many[string(text)]
	return ok
}

func sortedSet[T cmp.Ordered](values []T) []T {
	return slices.Compact(slices.Sorted(slices.Values(values)))
}
