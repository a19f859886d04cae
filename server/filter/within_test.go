package filter_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
)

func compile(t rapid.TB, filters ...*event) *filter.Filter {
	t.Helper()
	f, err := filter.Compile(filters)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func limits(t rapid.TB, filters ...*event) *filter.Limits {
	t.Helper()
	l, err := filter.CompileLimits(filters, false)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

type (
	providers = []webhookgatewayv1.Provider
	types     = []webhookgatewayv1.EventType
	verdicts  = []webhookgatewayv1.VerificationVerdict
)

func TestWithin(t *testing.T) {
	t.Parallel()
	authentic := verdicts{verified, off}
	for _, tc := range []struct {
		name          string
		asked, limits []*event
		want          []*event
		refused       string
	}{
		{
			"what is left out is filled in",
			[]*event{{}},
			[]*event{{Providers: providers{finicity}, ClientIds: []string{"b", "a"}, EventTypes: types{done}}},
			[]*event{{Providers: providers{finicity}, ClientIds: []string{"a", "b"}, EventTypes: types{done}, Verdicts: authentic}},
			"",
		},
		{
			"a request within its limits is as it was",
			[]*event{{EventTypes: types{done}, ClientIds: []string{"a"}}},
			[]*event{{ClientIds: []string{"a", "b"}}, {EventTypes: types{done}, ClientIds: []string{"a"}}},
			[]*event{{EventTypes: types{done}, ClientIds: []string{"a"}, Verdicts: authentic}},
			"",
		},
		{
			"several limits are several filters",
			[]*event{{EventTypes: types{done}}},
			[]*event{{ClientIds: []string{"a"}}, {ClientIds: []string{"b"}, Verdicts: verdicts{failed, verified}}},
			[]*event{
				{EventTypes: types{done}, ClientIds: []string{"a"}, Verdicts: authentic},
				{EventTypes: types{done}, ClientIds: []string{"b"}, Verdicts: verdicts{verified}},
			},
			"",
		},
		{
			"limits that differ in one condition are one filter",
			[]*event{{EventTypes: types{done}}},
			[]*event{{ClientIds: []string{"b"}}, {ClientIds: []string{"a"}}, {Providers: providers{vezgo}}},
			[]*event{{EventTypes: types{done}, ClientIds: []string{"a", "b"}, Verdicts: authentic}},
			"",
		},
		{
			"what failed is to be asked for",
			[]*event{{Verdicts: verdicts{failed}}},
			[]*event{{ClientIds: []string{"a"}}},
			[]*event{{ClientIds: []string{"a"}, Verdicts: verdicts{failed}}},
			"",
		},
		{
			"what a limit excludes is excluded",
			[]*event{{ExcludeClientIds: []string{"a"}}},
			[]*event{{ExcludeClientIds: []string{"b"}}, {EventTypes: types{done}, ExcludeClientIds: []string{"c"}}},
			[]*event{
				{ExcludeClientIds: []string{"a", "b", canary}, Verdicts: authentic},
				{EventTypes: types{done}, ExcludeClientIds: []string{"a", "c", canary}, Verdicts: authentic},
			},
			"",
		},
		{
			"what is excluded needs no grant",
			[]*event{{ExcludeClientIds: []string{"a", "z"}}},
			[]*event{{ClientIds: []string{"a", "b"}}},
			[]*event{{ClientIds: []string{"b"}, Verdicts: authentic}},
			"",
		},
		{
			"the canary is to be asked for",
			[]*event{{}, {ClientIds: []string{canary}}},
			[]*event{{Providers: providers{finicity}}},
			[]*event{
				{Providers: providers{finicity}, ExcludeClientIds: []string{canary}, Verdicts: authentic},
				{Providers: providers{finicity}, ClientIds: []string{canary}, Verdicts: authentic},
			},
			"",
		},
		{
			"the canary is excluded by a limit",
			[]*event{{ClientIds: []string{canary}}},
			[]*event{{ExcludeClientIds: []string{canary}}},
			nil,
			`filters[0].client_ids: not granted: "webhook-gateway-canary"`,
		},
		{
			"only the canary is granted",
			[]*event{{}},
			[]*event{{ClientIds: []string{canary}}},
			nil,
			"filters[0]: these conditions are not granted together",
		},
		{
			"an excluded client",
			[]*event{{ClientIds: []string{"a", "b"}}},
			[]*event{{ExcludeClientIds: []string{"b"}}},
			nil,
			`filters[0].client_ids: not granted: "b"`,
		},
		{
			"only what failed is granted",
			[]*event{{}},
			[]*event{{Verdicts: verdicts{failed}}},
			nil,
			"filters[0].verdicts: only what failed verification may be granted: name VERIFICATION_VERDICT_FAILED",
		},
		{"nothing", []*event{{}}, nil, nil, "filters[0]: these conditions are not granted together"},
		{
			"a value",
			[]*event{{}, {ClientIds: []string{"b", "a", "c"}}},
			[]*event{{ClientIds: []string{"a"}}},
			nil,
			`filters[1].client_ids: not granted: "b", "c"`,
		},
		{
			"a type",
			[]*event{{EventTypes: types{sync}}},
			[]*event{{Providers: providers{finicity}}},
			nil,
			`filters[0].event_types: not granted: "EVENT_TYPE_VEZGO_SYNC_ACCOUNT"`,
		},
		{
			"a provider of whose types none is granted",
			[]*event{{Providers: providers{vezgo, finicity}}},
			[]*event{{EventTypes: types{done}}},
			nil,
			`filters[0].providers: not granted: "PROVIDER_VEZGO"`,
		},
		{
			"a verdict",
			[]*event{{Verdicts: verdicts{failed, verified}}},
			[]*event{{Verdicts: verdicts{verified}}},
			nil,
			`filters[0].verdicts: not granted: "VERIFICATION_VERDICT_FAILED"`,
		},
		{
			"each, but not together",
			[]*event{{ClientIds: []string{"a"}, EventTypes: types{done}}},
			[]*event{{ClientIds: []string{"a"}, Providers: providers{vezgo}}, {ClientIds: []string{"b"}}},
			nil,
			"filters[0]: these conditions are not granted together",
		},
		{
			"a value with the others",
			[]*event{{ClientIds: []string{"a", "b"}, EventTypes: types{done}}},
			[]*event{{ClientIds: []string{"a"}, Providers: providers{vezgo}}, {ClientIds: []string{"b"}}},
			nil,
			`filters[0].client_ids: not granted together with the other conditions: "a"`,
		},
	} {
		f, err := compile(t, tc.asked...).Within(limits(t, tc.limits...))
		if tc.refused != "" {
			if outside := (*filter.OutsideError)(nil); !errors.As(err, &outside) || err.Error() != tc.refused {
				t.Errorf("%s: error = %v, want %s", tc.name, err, tc.refused)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if diff := cmp.Diff(tc.want, f.Normal(), protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

// Without limits a filter is the very same: what is not restricted costs nothing.
func TestNothingIsLessThanEverything(t *testing.T) {
	t.Parallel()
	f := compile(t, &event{Providers: providers{finicity, vezgo}, EventTypes: types{done}})
	if within, err := f.Within(limits(t, &event{ClientIds: []string{"a"}}), limits(t, &event{})); within != f || err != nil {
		t.Errorf("within everything: %v, %v", within, err)
	}
}

func TestTooManyParts(t *testing.T) {
	t.Parallel()
	var asked, granted []*event
	for i := range 9 {
		granted = append(granted, &event{ClientIds: []string{fmt.Sprint(i)}, ProviderEventIds: []string{fmt.Sprint(i)}})
		asked = append(asked, &event{Subjects: []string{fmt.Sprint(i)}})
	}
	if _, err := compile(t, asked...).Within(limits(t, granted...)); err == nil ||
		err.Error() != "filters: together with what is granted these are 81 filters, and at most 64 are possible: give fewer, or name more conditions" {
		t.Errorf("81 parts: %v", err)
	}
}

// Who must not see subjects cannot ask for them: not in a request, and not through a
// subscription.
func TestHiddenSubjects(t *testing.T) {
	t.Parallel()
	hidden, err := filter.CompileLimits([]*event{{}}, true)
	if err != nil {
		t.Fatal(err)
	}
	const want = `filters[0].subjects: not granted: "s"`
	f := compile(t, &event{Subjects: []string{"s"}})
	if _, err := f.Within(hidden); err == nil || err.Error() != want {
		t.Errorf("Within: %v", err)
	}
	if err := f.CoveredBy(hidden); err == nil || err.Error() != want {
		t.Errorf("CoveredBy: %v", err)
	}
	if err := compile(t, &event{}).CoveredBy(hidden); err != nil {
		t.Error(err)
	}
	shown := limits(t, &event{ClientIds: []string{"a"}})
	if within, err := f.Within(hidden, shown); err != nil || len(within.Normal()) != 1 || within.Normal()[0].GetClientIds() == nil {
		t.Errorf("where another limit shows them: %v, %v", within, err)
	}
}

func TestCoveredByRefusals(t *testing.T) {
	t.Parallel()
	granted := limits(t, &event{ClientIds: []string{"a", "b"}, Providers: providers{finicity}, Verdicts: verdicts{verified, off}})
	for _, tc := range []struct {
		asked *event
		want  string
	}{
		{&event{}, "filters[0]: it selects more than is granted: name providers, client_ids"},
		{&event{ClientIds: []string{"c"}}, `filters[0].client_ids: not granted: "c"`},
		{&event{ClientIds: []string{"a"}, Verdicts: verdicts{failed}}, `filters[0].verdicts: not granted: "VERIFICATION_VERDICT_FAILED"`},
		{&event{ClientIds: []string{"a"}, EventTypes: types{done, unknown}}, "filters[0]: it selects more than is granted: name providers"},
		{&event{ClientIds: []string{"a"}, EventTypes: types{done}}, ""},
	} {
		err := compile(t, tc.asked).CoveredBy(granted)
		if fmt.Sprint(err) != tc.want && (err != nil || tc.want != "") {
			t.Errorf("%v: error = %v, want %s", tc.asked, err, tc.want)
		}
	}
	excluding := limits(t, &event{ExcludeClientIds: []string{"a", "b"}}, &event{Providers: providers{vezgo}, ExcludeClientIds: []string{"b"}})
	if err := compile(t, &event{}).CoveredBy(excluding); fmt.Sprint(err) != "filters[0]: it selects more than is granted: name exclude_client_ids" {
		t.Errorf("where clients are excluded: %v", err)
	}
	if err := compile(t, &event{}).CoveredBy(limits(t, &event{ExcludeClientIds: []string{canary}})); err != nil {
		t.Errorf("where only the canary is excluded: %v", err)
	}
	leftOut := compile(t, &event{ClientIds: []string{"a"}, EventTypes: types{done}}).LeftOut()
	if err := leftOut.CoveredBy(granted); err == nil {
		t.Error("what failed is covered where only the rest is granted")
	}
	if compile(t, &event{Verdicts: verdicts{verified}}).LeftOut() != nil {
		t.Error("a filter that names verdicts leaves something out")
	}
}

// The world of the properties: few values, so that sets meet, and every kind of event
// that a log may hold, one of a newer gateway too.
var (
	allVerdicts = verdicts{verified, failed, off}
	clients     = []string{"a", "b", canary}
	kinds       = []struct {
		provider webhookgatewayv1.Provider
		typ      webhookgatewayv1.EventType
	}{{finicity, done}, {finicity, unknown}, {finicity, 199}, {vezgo, sync}, {vezgo, unknown}, {vezgo, 299}, {9, 901}, {9, unknown}}
)

// world returns an event of every kind.
func world(t rapid.TB) []eventlog.Record {
	t.Helper()
	var records []eventlog.Record
	for _, kind := range kinds {
		for _, verdict := range allVerdicts {
			for _, client := range append(slices.Clip(clients), "c") {
				for _, subject := range []string{"a", "b", ""} {
					entry, err := eventlog.NewEntry(&webhookgatewayv1.Event{
						Provider: kind.provider, Type: kind.typ, ClientId: client, Subject: subject, ProviderEventId: subject,
						Verification: &webhookgatewayv1.Verification{Verdict: verdict},
					})
					if err != nil {
						t.Fatal(err)
					}
					r, err := eventlog.ParseRecord(1, entry.Complete(time.Now(), eventlog.Totals{}, false, 7), true)
					if err != nil {
						t.Fatal(err)
					}
					records = append(records, r)
				}
			}
		}
	}
	return records
}

func some[T comparable](from []T) *rapid.Generator[[]T] {
	return rapid.OneOf(rapid.Just[[]T](nil), rapid.SliceOfNDistinct(rapid.SampledFrom(from), 1, len(from), rapid.ID[T]))
}

func drawFilters(t *rapid.T, label string) []*event {
	one := rapid.Custom(func(t *rapid.T) *event {
		f := &event{
			Providers: some(providers{finicity, vezgo}).Draw(t, "providers"),
			ClientIds: some(clients).Draw(t, "clients"),
			Subjects:  some([]string{"a", "b"}).Draw(t, "subjects"),
			Verdicts:  some(allVerdicts).Draw(t, "verdicts"),
		}
		if len(f.GetClientIds()) == 0 {
			f.ExcludeClientIds = some(clients).Draw(t, "excluded")
		}
		possible := types{unknown}
		if len(f.GetProviders()) == 0 || slices.Contains(f.GetProviders(), finicity) {
			possible = append(possible, done)
		}
		if len(f.GetProviders()) == 0 || slices.Contains(f.GetProviders(), vezgo) {
			possible = append(possible, sync)
		}
		f.EventTypes = some(possible).Draw(t, "types")
		return f
	})
	return rapid.SliceOfN(one, 1, 4).Draw(t, label)
}

// Limits of several filters allow what any of them allows alone, and nothing else.
func TestLimitsAreAUnion(t *testing.T) {
	t.Parallel()
	records := world(t)
	isUnion := func(t rapid.TB, filters []*event) {
		together := limits(t, filters...)
		alone := make([]*filter.Limits, len(filters))
		for i, f := range filters {
			alone[i] = limits(t, f)
		}
		for _, r := range records {
			want := slices.ContainsFunc(alone, func(l *filter.Limits) bool { return l.Allow(r) })
			if got := together.Allow(r); got != want {
				t.Fatalf("%s %v: allowed %v, by one alone %v: %v", describe(r), r.Verdict(), got, want, filters)
			}
		}
		if together.Unlimited() && !slices.ContainsFunc(alone, (*filter.Limits).Unlimited) {
			t.Fatalf("unlimited: %v", filters)
		}
	}
	isUnion(t, []*event{{ExcludeClientIds: []string{canary}}, {Verdicts: verdicts{verified, off}}})
	rapid.Check(t, func(t *rapid.T) { isUnion(t, drawFilters(t, "granted")) })
}

// What is delivered is what the request matches and a limit allows; what is counted as
// left out may be seen; what is refused has nothing that may be seen.
func TestWithinIsTheIntersection(t *testing.T) {
	t.Parallel()
	records := world(t)
	rapid.Check(t, func(t *rapid.T) {
		asked := compile(t, drawFilters(t, "asked")...)
		granted := []*filter.Limits{limits(t, drawFilters(t, "granted")...), limits(t, drawFilters(t, "granted too")...)}
		allowed := func(r eventlog.Record) bool { return granted[0].Allow(r) || granted[1].Allow(r) }
		within, err := asked.Within(granted...)
		if err != nil {
			// Some filter, or some value of one, has no event that may be seen.
			if outside := (*filter.OutsideError)(nil); !errors.As(err, &outside) {
				t.Fatal(err)
			}
			return
		}
		for _, r := range records {
			got := within.Match(r)
			if want := asked.Match(r) == filter.Match && allowed(r); want != (got == filter.Match) {
				t.Fatalf("%s %v: %v, asked for %v, allowed %v; in force: %v", describe(r), r.Verdict(), got, asked.Match(r), allowed(r), within.Normal())
			}
			if got == filter.LeftOut && (asked.Match(r) == filter.Other || !allowed(r)) {
				t.Fatalf("%s is counted, and must not be seen", describe(r))
			}
		}
	})
}

// A filter for which nothing is granted is refused; one that is granted as a whole is
// not, whatever it names.
func TestRefusedIsWhatIsNotGranted(t *testing.T) {
	t.Parallel()
	records := world(t)
	rapid.Check(t, func(t *rapid.T) {
		one := drawFilters(t, "asked")[:1]
		asked, granted := compile(t, one...), limits(t, drawFilters(t, "granted")...)
		_, err := asked.Within(granted)
		matches := func(r eventlog.Record) bool { return asked.Match(r) == filter.Match }
		both := func(r eventlog.Record) bool { return matches(r) && granted.Allow(r) }
		if !slices.ContainsFunc(records, both) && slices.ContainsFunc(records, matches) && err == nil {
			t.Fatal("nothing of it is granted, and it is not refused")
		}
		if asked.CoveredBy(granted) == nil && len(one[0].GetProviders()) == 0 && err != nil {
			t.Fatalf("all of it is granted, and it is refused: %v", err)
		}
	})
}

// A filter is covered if and only if every event that it matches is allowed.
func TestCoveredAgreesWithMatching(t *testing.T) {
	t.Parallel()
	records := world(t)
	rapid.Check(t, func(t *rapid.T) {
		asked := compile(t, drawFilters(t, "asked")...)
		granted := []*filter.Limits{limits(t, drawFilters(t, "granted")...), limits(t, drawFilters(t, "granted too")...)}
		i := slices.IndexFunc(records, func(r eventlog.Record) bool {
			return asked.Match(r) == filter.Match && !granted[0].Allow(r) && !granted[1].Allow(r)
		})
		err := asked.CoveredBy(granted...)
		if err == nil && i >= 0 {
			t.Fatalf("%s is matched and not allowed, and the filter is covered", describe(records[i]))
		}
		if err != nil && i < 0 {
			t.Fatalf("all is allowed: %v", err)
		}
	})
}

func describe(r eventlog.Record) string {
	return fmt.Sprintf("%v %v of client %q about %q", r.Provider(), r.Type(), r.ClientID(), r.Subject())
}
