package filter_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
)

type event = webhookgatewayv1.EventFilter

const (
	finicity = webhookgatewayv1.Provider_PROVIDER_FINICITY
	vezgo    = webhookgatewayv1.Provider_PROVIDER_VEZGO
	done     = webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_DONE
	sync     = webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ACCOUNT
	unknown  = webhookgatewayv1.EventType_EVENT_TYPE_UNRECOGNIZED
	verified = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED
	failed   = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED
	canary   = "webhook-gateway-canary"
	off      = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_NOT_CHECKED
)

func record(t *testing.T, verdict webhookgatewayv1.VerificationVerdict) eventlog.Record {
	t.Helper()
	entry, err := eventlog.NewEntry(&webhookgatewayv1.Event{
		Provider: finicity, Type: done, ClientId: "client", Subject: "subject", ProviderEventId: "id",
		Verification: &webhookgatewayv1.Verification{Verdict: verdict},
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := eventlog.ParseRecord(1, entry.Complete(time.Now(), eventlog.Totals{Bytes: 1}, false, 7), true)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEveryConditionMustBeMet(t *testing.T) {
	t.Parallel()
	r := record(t, verified)
	for _, tc := range []struct {
		name   string
		filter *event
		want   filter.Result
	}{
		{"none", &event{}, filter.Match},
		{"provider", &event{Providers: []webhookgatewayv1.Provider{finicity}}, filter.Match},
		{"another provider", &event{Providers: []webhookgatewayv1.Provider{vezgo}}, filter.Other},
		{"type", &event{EventTypes: []webhookgatewayv1.EventType{sync, done}}, filter.Match},
		{"another type", &event{EventTypes: []webhookgatewayv1.EventType{unknown}}, filter.Other},
		{"client", &event{ClientIds: []string{"client"}}, filter.Match},
		{"many clients", &event{ClientIds: append(strings.Split("abcdefghi", ""), "client")}, filter.Match},
		{"many other clients", &event{ClientIds: strings.Split("abcdefghi", "")}, filter.Other},
		{"another client", &event{ClientIds: []string{"clien"}}, filter.Other},
		{"excluded client", &event{ExcludeClientIds: []string{"a", "client"}}, filter.Other},
		{"another excluded client", &event{ExcludeClientIds: []string{"clien"}}, filter.Match},
		{"many excluded clients", &event{ExcludeClientIds: append(strings.Split("abcdefghi", ""), "client")}, filter.Other},
		{"many other excluded clients", &event{ExcludeClientIds: strings.Split("abcdefghi", "")}, filter.Match},
		{"subject", &event{Subjects: []string{"a", "subject"}}, filter.Match},
		{"another subject", &event{Subjects: []string{"id"}}, filter.Other},
		{"id", &event{ProviderEventIds: []string{"id"}}, filter.Match},
		{"another id", &event{ProviderEventIds: []string{"i"}}, filter.Other},
		{"verdict", &event{Verdicts: []webhookgatewayv1.VerificationVerdict{verified}}, filter.Match},
		{"another verdict", &event{Verdicts: []webhookgatewayv1.VerificationVerdict{failed, off}}, filter.Other},
		{"all but one", &event{ClientIds: []string{"client"}, Subjects: []string{"b"}}, filter.Other},
	} {
		f, err := filter.Compile([]*event{tc.filter})
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if got := f.Match(r); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestNormal(t *testing.T) {
	t.Parallel()
	authentic := []webhookgatewayv1.VerificationVerdict{verified, off}
	f, err := filter.Compile([]*event{
		{ClientIds: []string{"b", "a", "b"}, Subjects: []string{"2", "1"}},
		{ClientIds: []string{"a", "b"}, Subjects: []string{"1", "2"}, Verdicts: authentic},
		{Verdicts: []webhookgatewayv1.VerificationVerdict{failed, failed}},
		{ExcludeClientIds: []string{"z", "a", "z"}, Verdicts: authentic},
		{ClientIds: []string{canary}, Verdicts: authentic},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []*event{
		{ClientIds: []string{"a", "b"}, Subjects: []string{"1", "2"}, Verdicts: authentic},
		{Verdicts: []webhookgatewayv1.VerificationVerdict{failed}, ExcludeClientIds: []string{canary}},
		{ExcludeClientIds: []string{"a", canary, "z"}, Verdicts: authentic},
		{ClientIds: []string{canary}, Verdicts: authentic},
	}
	if diff := cmp.Diff(want, f.Normal(), protocmp.Transform()); diff != "" {
		t.Errorf("normal (-want +got):\n%s", diff)
	}
}

func TestWhatCanMatchNothingIsRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		filter *event
		want   string
	}{
		{&event{Providers: []webhookgatewayv1.Provider{0}}, "filters[0].providers[0]: "},
		{&event{Providers: []webhookgatewayv1.Provider{9}}, "filters[0].providers[0]: "},
		{&event{EventTypes: []webhookgatewayv1.EventType{0}}, "filters[0].event_types[0]: "},
		{&event{EventTypes: []webhookgatewayv1.EventType{done, 117}}, "filters[0].event_types[1]: "},
		{&event{Providers: []webhookgatewayv1.Provider{vezgo}, EventTypes: []webhookgatewayv1.EventType{sync, done}}, "filters[0].event_types[1]: EVENT_TYPE_FINICITY_DONE is a type of PROVIDER_FINICITY"},
		{&event{Verdicts: []webhookgatewayv1.VerificationVerdict{0}}, "filters[0].verdicts[0]: "},
		{&event{ClientIds: []string{""}}, "filters[0].client_ids[0]: "},
		{&event{ClientIds: make([]string, 1001)}, "filters[0].client_ids: "},
		{&event{ExcludeClientIds: []string{"a", ""}}, "filters[0].exclude_client_ids[1]: "},
		{&event{ExcludeClientIds: make([]string, 1001)}, "filters[0].exclude_client_ids: 1001 are given: give at most 1000"},
		{&event{ClientIds: []string{"a"}, ExcludeClientIds: []string{"b"}}, "filters[0].exclude_client_ids: client_ids names the clients already"},
		{&event{Subjects: []string{"a", strings.Repeat("s", 1025)}}, "filters[0].subjects[1]: "},
		{&event{ProviderEventIds: []string{""}}, "filters[0].provider_event_ids[0]: "},
	} {
		if _, err := filter.Compile([]*event{tc.filter}); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%v: error = %v, want %s", tc.filter, err, tc.want)
		}
	}
	if _, err := filter.Compile(make([]*event, 65)); err == nil || !strings.HasPrefix(err.Error(), "filters: 65") {
		t.Errorf("65 filters: %v", err)
	}
	long := make([]string, 1000)
	for i := range long {
		long[i] = strings.Repeat("s", 1024)
	}
	if _, err := filter.Compile([]*event{{Subjects: long}}); err != nil {
		t.Errorf("the longest list: %v", err)
	}
	_, err := filter.Compile([]*event{{Subjects: long}, {ProviderEventIds: long[:100]}})
	if err == nil || !strings.HasPrefix(err.Error(), "filters: they take 11") || !strings.Contains(err.Error(), "at most 1048576") {
		t.Errorf("filters of more than a MiB: %v", err)
	}
	for _, fine := range []*event{
		{Providers: []webhookgatewayv1.Provider{vezgo}, EventTypes: []webhookgatewayv1.EventType{unknown}},
		{Providers: []webhookgatewayv1.Provider{vezgo, finicity}, EventTypes: []webhookgatewayv1.EventType{done}},
	} {
		if _, err := filter.Compile([]*event{fine}); err != nil {
			t.Errorf("%v: %v", fine, err)
		}
	}
}

// What a filter is shown as may be asked for, and is the same.
// TestNewerCondition: a filter with a condition that this version of the gateway does not know would
// match what it is to keep out. It allows nothing, too.
func TestNewerCondition(t *testing.T) {
	t.Parallel()
	newer := &event{ClientIds: []string{"a"}}
	newer.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
	_, compiled := filter.Compile([]*event{{}, newer})
	_, limits := filter.CompileLimits([]*event{{}, newer}, false)
	for _, err := range []error{compiled, limits} {
		if err == nil || !strings.HasPrefix(err.Error(), "filters[1]: field 99 of webhookgateway.v1.EventFilter") {
			t.Errorf("error = %v", err)
		}
	}
}

func TestNormalIsItsOwnNormal(t *testing.T) {
	t.Parallel()
	excluded := make([]string, 1000)
	for i := range excluded {
		excluded[i] = fmt.Sprint(i)
	}
	large := &event{} // as large as it may be
	for i := range 1000 {
		large.Subjects = append(large.Subjects, fmt.Sprintf("%01020d", i))
		if i < 25 {
			large.ProviderEventIds = append(large.ProviderEventIds, fmt.Sprintf("%01000d", i))
		}
	}
	large.ProviderEventIds = append(large.ProviderEventIds, strings.Repeat("9", 1<<20-proto.Size(large)-3))
	for _, f := range []*event{{}, {ExcludeClientIds: excluded}, {ExcludeClientIds: []string{canary}}, {ClientIds: []string{canary}}, large} {
		once := compile(t, f).Normal()
		if diff := cmp.Diff(once, compile(t, once...).Normal(), protocmp.Transform()); diff != "" {
			t.Errorf("normal of normal (-once +twice):\n%s", diff)
		}
	}
}

// Every type but the unrecognised one belongs to the provider that its number
// tells.
func TestTypesHaveProviders(t *testing.T) {
	t.Parallel()
	for number, name := range webhookgatewayv1.EventType_name {
		for p, providerName := range webhookgatewayv1.Provider_name {
			prefix := "EVENT_TYPE_" + strings.TrimPrefix(providerName, "PROVIDER_") + "_"
			if p == 0 || !strings.HasPrefix(name, prefix) {
				continue
			}
			if _, err := filter.Compile([]*event{{
				Providers:  []webhookgatewayv1.Provider{webhookgatewayv1.Provider(p)},
				EventTypes: []webhookgatewayv1.EventType{webhookgatewayv1.EventType(number)},
			}}); err != nil {
				t.Errorf("%s of %s: %v", name, providerName, err)
			}
		}
	}
}
