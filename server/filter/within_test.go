package filter_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
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
