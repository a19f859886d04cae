package filter_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
)

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
