package eventservice

import (
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

const (
	maxFilters   = 64
	maxClientIDs = 1000
)

// matcher is a compiled filter.
type matcher struct {
	providers []webhookgatewayv1.Provider
	types     []webhookgatewayv1.EventType
	clients   map[string]struct{}
}

// matchers match an event that any of them matches; none match every event.
type matchers []matcher

func (ms matchers) match(r eventlog.Record) bool {
	if len(ms) == 0 {
		return true
	}
	for i := range ms {
		if ms[i].match(r) {
			return true
		}
	}
	return false
}

func (m *matcher) match(r eventlog.Record) bool {
	if len(m.providers) > 0 && !slices.Contains(m.providers, r.Provider()) {
		return false
	}
	if len(m.types) > 0 && !slices.Contains(m.types, r.Type()) {
		return false
	}
	if len(m.clients) > 0 {
		if _, ok := m.clients[string(r.ClientID())]; !ok {
			return false
		}
	}
	return true
}

// compile validates filters. It returns them normalised, too: without
// duplicates, and their values sorted.
func compile(filters []*webhookgatewayv1.EventFilter) ([]*webhookgatewayv1.EventFilter, matchers, error) {
	if len(filters) > maxFilters {
		return nil, nil, invalid("filters", "%d filters are given: give at most %d", len(filters), maxFilters)
	}
	var (
		normal   []*webhookgatewayv1.EventFilter
		compiled matchers
	)
	for i, f := range filters {
		path := fmt.Sprintf("filters[%d]", i)
		if err := checkFilter(path, f); err != nil {
			return nil, nil, err
		}
		n := &webhookgatewayv1.EventFilter{
			Providers:  sortedSet(f.GetProviders()),
			EventTypes: sortedSet(f.GetEventTypes()),
			ClientIds:  sortedSet(f.GetClientIds()),
		}
		if slices.ContainsFunc(normal, func(o *webhookgatewayv1.EventFilter) bool { return proto.Equal(o, n) }) {
			continue
		}
		normal = append(normal, n)
		m := matcher{providers: n.GetProviders(), types: n.GetEventTypes(), clients: make(map[string]struct{}, len(n.GetClientIds()))}
		for _, id := range n.GetClientIds() {
			m.clients[id] = struct{}{}
		}
		compiled = append(compiled, m)
	}
	return normal, compiled, nil
}

// checkFilter refuses what can match nothing: nobody should wait for it.
func checkFilter(path string, f *webhookgatewayv1.EventFilter) error {
	for i, p := range f.GetProviders() {
		if _, known := webhookgatewayv1.Provider_name[int32(p)]; !known || p == webhookgatewayv1.Provider_PROVIDER_UNSPECIFIED {
			return invalid(fmt.Sprintf("%s.providers[%d]", path, i), "%v is not a provider that this gateway knows", p)
		}
	}
	for i, t := range f.GetEventTypes() {
		if _, known := webhookgatewayv1.EventType_name[int32(t)]; !known || t == webhookgatewayv1.EventType_EVENT_TYPE_UNSPECIFIED {
			return invalid(fmt.Sprintf("%s.event_types[%d]", path, i),
				"%v is not an event type that this gateway knows: EVENT_TYPE_UNRECOGNIZED selects the types that it does not", t)
		}
	}
	if n := len(f.GetClientIds()); n > maxClientIDs {
		return invalid(path+".client_ids", "%d client ids are given: give at most %d, or none for all", n, maxClientIDs)
	}
	for i, id := range f.GetClientIds() {
		if id == "" || len(id) > eventlog.MaxClientIDLen {
			return invalid(fmt.Sprintf("%s.client_ids[%d]", path, i), "a client id has 1 to %d bytes, this has %d", eventlog.MaxClientIDLen, len(id))
		}
	}
	return nil
}

func sortedSet[T cmp.Ordered](values []T) []T {
	return slices.Compact(slices.Sorted(slices.Values(values)))
}

// checkView returns the view in force.
func checkView(view webhookgatewayv1.EventView) (webhookgatewayv1.EventView, error) {
	switch view {
	case webhookgatewayv1.EventView_EVENT_VIEW_UNSPECIFIED:
		return webhookgatewayv1.EventView_EVENT_VIEW_FULL, nil
	case webhookgatewayv1.EventView_EVENT_VIEW_METADATA, webhookgatewayv1.EventView_EVENT_VIEW_FULL, webhookgatewayv1.EventView_EVENT_VIEW_RAW:
		return view, nil
	}
	return 0, invalid("view", "%v is not a view that this gateway knows", view)
}
