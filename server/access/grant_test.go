package access_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
	"github.com/webhook-gateway/webhook-gateway/server/redact"
)

type (
	filters = []*webhookgatewayv1.EventFilter
	views   = []webhookgatewayv1.EventView
)

const (
	full     = webhookgatewayv1.EventView_EVENT_VIEW_FULL
	raw      = webhookgatewayv1.EventView_EVENT_VIEW_RAW
	metadata = webhookgatewayv1.EventView_EVENT_VIEW_METADATA
)

func TestGrantRefusals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		grant *access.Grant
		want  string
	}{
		{&access.Grant{Filters: filters{{ClientIds: []string{""}}}, Views: views{full}}, "filters[0].client_ids[0]: a client id has 1 to 255 bytes, this has 0"},
		{&access.Grant{Filters: filters{{}}}, "views: name the views in which the events of the filters may be read"},
		{&access.Grant{Filters: filters{{}}, Views: views{full, 0}}, "views[1]: EVENT_VIEW_UNSPECIFIED is not a view that this gateway knows"},
		{&access.Grant{Filters: filters{{}}, Views: views{full, raw}, Mask: []string{"name"}}, "views[1]: a raw body cannot be masked: leave RAW out, or mask nothing"},
		{
			&access.Grant{Filters: filters{{}, {Subjects: []string{"s"}}}, Views: views{full}, Mask: []string{"subject"}},
			"filters[1].subjects: every stream shows its filters, and the mask hides subjects: leave one of them out",
		},
		{&access.Grant{Filters: filters{{Subjects: []string{"s"}}}, Views: views{full, metadata}, Mask: []string{"name"}}, ""},
		{&access.Grant{Mask: []string{"name", "colour"}}, `mask[1]: "colour" is no class of sensitive fields: choose from untyped, subject, name, account_id, account_number, amount, query, custom`},
		{&access.Grant{}, ""},
	} {
		if err := tc.grant.Check(); err == nil && tc.want != "" || err != nil && err.Error() != tc.want {
			t.Errorf("%v: error = %v, want %s", tc.grant.Filters, err, tc.want)
		}
	}
}

// A grant that nobody has checked, and that is not valid, grants nothing.
func TestGrantThatIsNotValid(t *testing.T) {
	t.Parallel()
	caller := &access.Caller{Grants: []*access.Grant{{Filters: filters{{ClientIds: []string{""}}}, Views: views{full}}}}
	reach, err := caller.Reach(full)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := reach.Narrow(compile(t)); status.Code(err) != codes.PermissionDenied {
		t.Errorf("Narrow() = %v, %v", f, err)
	}
	if reach.Allows(record(t, "a")) || reach.Unlimited() {
		t.Error("it allows something")
	}
}

func TestNobodyAndAnybody(t *testing.T) {
	t.Parallel()
	nobody := access.From(t.Context())
	anybody := access.From(access.NewContext(t.Context(), access.Anybody()))
	f := compile(t)
	for _, view := range (views{full, raw, metadata}) {
		if _, err := nobody.Reach(view); status.Code(err) != codes.PermissionDenied {
			t.Errorf("nobody in %v: %v", view, err)
		}
		reach, err := anybody.Reach(view)
		if err != nil {
			t.Fatal(err)
		}
		narrow, err := reach.Narrow(f)
		if narrow != f || err != nil || !reach.Unlimited() || reach.Masks() || !reach.Allows(record(t, "a")) {
			t.Errorf("anybody in %v is limited: %v, %v", view, narrow, err)
		}
	}
	for what, err := range map[string][2]error{
		"use":     {nobody.Use("name", "s"), anybody.Use("name", "s")},
		"manage":  {nobody.Manage("name", "s"), anybody.Manage("name", "s")},
		"use any": {nobody.UseAny(), anybody.UseAny()},
		"look":    {nobody.Look(), anybody.Look()},
	} {
		if status.Code(err[0]) != codes.PermissionDenied || err[1] != nil {
			t.Errorf("%s: nobody %v, anybody %v", what, err[0], err[1])
		}
	}
}

// A class is masked if every grant that allows an event, in this view, masks it.
func TestMasked(t *testing.T) {
	t.Parallel()
	of := func(view webhookgatewayv1.EventView, mask []string, clients ...string) *access.Grant {
		return &access.Grant{Filters: filters{{ClientIds: clients}}, Views: views{view}, Mask: mask}
	}
	caller := &access.Caller{Grants: []*access.Grant{
		of(full, []string{"name", "amount"}, "a", "b", "c", "d"),
		of(full, []string{"name", "subject"}, "b"),
		of(full, []string{"amount"}, "d"),
		of(full, []string{"colour"}, "e"),
		of(full, nil, "c"),
		of(metadata, nil, "a"),
	}}
	reach, err := caller.Reach(full)
	if err != nil {
		t.Fatal(err)
	}
	for client, want := range map[string]string{
		"a": "[untyped name amount]", "b": "[untyped name]", "c": "[]",
		"d": "[untyped amount]",
		// What should not happen shows least: classes that nobody has checked, and an event
		// that is not granted.
		"e": fmt.Sprint(redact.All().Names()), "z": fmt.Sprint(redact.All().Names()),
	} {
		if got := masked(t, reach, record(t, client)); got != want || !reach.Masks() {
			t.Errorf("of %s: %v, want %v", client, got, want)
		}
	}
	if reach, err = caller.Reach(metadata); err != nil || reach.Masks() || reach.Mask(record(t, "a")) != nil {
		t.Errorf("where no grant masks: %v, %v", reach, err)
	}
}

// Whatever is granted and asked for: what arrives is what the request alone matches and
// some grant of the view allows, and a subscription that is covered has nothing else.
func TestWhatArrivesIsGranted(t *testing.T) {
	t.Parallel()
	clients, classes := []string{"a", "b", "c"}, []string{"subject", "name", "amount"}
	records := make(map[string]eventlog.Record)
	for _, id := range clients {
		records[id] = record(t, id)
	}
	rapid.Check(t, func(t *rapid.T) {
		someClients := rapid.SliceOfDistinct(rapid.SampledFrom(clients), rapid.ID[string])
		caller := &access.Caller{}
		for range rapid.IntRange(0, 3).Draw(t, "grants") {
			g := &access.Grant{
				Filters: filters{{ClientIds: someClients.Draw(t, "granted clients")}},
				Views:   rapid.SliceOfDistinct(rapid.SampledFrom(views{full, raw, metadata}), rapid.ID[webhookgatewayv1.EventView]).Draw(t, "views"),
				Mask:    rapid.SliceOfDistinct(rapid.SampledFrom(classes), rapid.ID[string]).Draw(t, "mask"),
			}
			caller.Grants = append(caller.Grants, g)
		}
		view := rapid.SampledFrom(views{full, raw, metadata}).Draw(t, "view")
		asked := compile(t, &webhookgatewayv1.EventFilter{ClientIds: someClients.Draw(t, "clients")})
		// The rules once more, said simply.
		allow := func(g *access.Grant, id string) bool {
			granted := g.Filters[0].GetClientIds()
			return slices.Contains(g.Views, view) && (view != raw || len(g.Mask) == 0) && (len(granted) == 0 || slices.Contains(granted, id))
		}
		arrives := make(map[string]bool)
		covered := true
		for id, r := range records {
			granted := slices.ContainsFunc(caller.Grants, func(g *access.Grant) bool { return allow(g, id) })
			matches := asked.Match(r) == filter.Match
			arrives[id] = granted && matches
			covered = covered && (granted || !matches)
		}
		reach, err := caller.Reach(view)
		var narrow *filter.Filter
		if err == nil {
			narrow, err = reach.Narrow(asked)
		}
		if err != nil {
			if status.Code(err) != codes.PermissionDenied || covered && len(asked.Normal()[0].GetClientIds()) > 0 {
				t.Fatal(err)
			}
			return
		}
		for id, r := range records {
			if got := narrow.Match(r) == filter.Match; got != arrives[id] {
				t.Fatalf("of %s arrives %v, want %v", id, got, arrives[id])
			}
			if !arrives[id] {
				continue
			}
			want := slices.Clone(classes)
			plain := false
			for _, g := range caller.Grants {
				if allow(g, id) {
					want = slices.DeleteFunc(want, func(class string) bool { return !slices.Contains(g.Mask, class) })
					plain = plain || len(g.Mask) == 0
				}
			}
			if !plain { // what has no type is masked with every class
				want = slices.Insert(want, 0, "untyped")
			}
			if got := masked(t, reach, r); got != fmt.Sprint(want) {
				t.Fatalf("masked of %s: %s, want %v", id, got, want)
			}
		}
		if err := reach.Covers("", asked); err == nil && !covered {
			t.Fatal("it is covered, and not all of it is granted")
		}
	})
}

// What is not restricted costs nothing, and what is allocates nothing for an event.
func TestEventsCostNoMemory(t *testing.T) {
	r := record(t, "a")
	masked := &access.Grant{Filters: filters{{ClientIds: []string{"a"}}}, Views: views{full}, Mask: []string{"name"}}
	for _, caller := range []*access.Caller{access.Anybody(), {Grants: []*access.Grant{masked}}} {
		reach, err := caller.Reach(full)
		if err != nil {
			t.Fatal(err)
		}
		narrow, err := reach.Narrow(compile(t))
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() {
			if narrow.Match(r) != filter.Match || !reach.Allows(r) || (reach.Mask(r) != nil) != reach.Masks() {
				t.Error("it is not allowed")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", caller.Name, n)
		}
	}
}

// masked returns the names of the classes that an event of the caller says to be masked.
func masked(t rapid.TB, reach *access.Reach, r eventlog.Record) string {
	t.Helper()
	event := &webhookgatewayv1.Event{}
	if err := proto.Unmarshal(reach.Mask(r).Apply(nil), event); err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, class := range event.GetMasked() {
		names = append(names, strings.ToLower(strings.TrimPrefix(class.String(), "SENSITIVITY_")))
	}
	return fmt.Sprint(names)
}

func compile(t rapid.TB, filters ...*webhookgatewayv1.EventFilter) *filter.Filter {
	t.Helper()
	f, err := filter.Compile(filters)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func record(t *testing.T, client string) eventlog.Record {
	t.Helper()
	entry, err := eventlog.NewEntry(&webhookgatewayv1.Event{
		Provider: webhookgatewayv1.Provider_PROVIDER_FINICITY, Type: webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_DONE,
		ClientId: client, Subject: fmt.Sprint("of ", client),
		Verification: &webhookgatewayv1.Verification{Verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED},
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := eventlog.ParseRecord(1, entry.Complete(time.Now(), eventlog.Totals{}, false, 7), true)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
