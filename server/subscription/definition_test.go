package subscription

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog/pebblelogtest"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

func TestInvalid(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	for field, in := range map[string]*webhookgatewayv1.Subscription{
		"subscription.name":                              {Name: "Upper"},
		"subscription.name ":                             {},
		"subscription.name  ":                            {Name: "1a"},
		"subscription.settings.ack_deadline":             {Settings: &webhookgatewayv1.SubscriptionSettings{AckDeadline: durationpb.New(time.Millisecond)}},
		"subscription.settings.max_attempts":             {Settings: &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 1001}},
		"subscription.settings.min_backoff":              {Settings: &webhookgatewayv1.SubscriptionSettings{MinBackoff: durationpb.New(-1)}},
		"subscription.settings.max_backoff":              {Settings: &webhookgatewayv1.SubscriptionSettings{MinBackoff: durationpb.New(2), MaxBackoff: durationpb.New(1)}},
		"subscription.settings.max_in_flight_per_stream": {Settings: &webhookgatewayv1.SubscriptionSettings{MaxInFlightPerStream: -1}},
		"subscription.settings.max_in_flight":            {Settings: &webhookgatewayv1.SubscriptionSettings{MaxInFlight: 1_000_001}},
		"subscription.settings.ordering":                 {Settings: &webhookgatewayv1.SubscriptionSettings{Ordering: 9}},
	} {
		if in.GetSettings() != nil {
			in.Name = "s"
		}
		_, err := g.manager.Create(t.Context(), in, fromTheBeginning)
		problems := fielderr.All(err)
		if len(problems) != 1 || problems[0].Path != strings.TrimSpace(field) {
			t.Errorf("Create() = %v, want that %s is not valid", err, field)
		}
	}
}

// newer returns a message with a field of a later version.
func newer[M proto.Message](m M) M {
	m.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
	return m
}

// A subscription that says more than this version of the gateway knows is refused, rather than made
// another one. Its status is not what makes it.
func TestNewerSubscription(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.create(t, "s", nil)
	for name, in := range map[string]*webhookgatewayv1.Subscription{
		"a field":     newer(&webhookgatewayv1.Subscription{}),
		"a setting":   {Settings: newer(&webhookgatewayv1.SubscriptionSettings{MaxAttempts: 7})},
		"a condition": {Filters: []*webhookgatewayv1.EventFilter{newer(&webhookgatewayv1.EventFilter{ClientIds: []string{"a"}})}},
		"a start":     {Start: newer(&webhookgatewayv1.SubscriptionStart{})},
	} {
		in.Name = "other"
		created := second(g.manager.Create(t.Context(), in, fromTheBeginning))
		in.Name = "s"
		updated := second(g.manager.Update(t.Context(), in, nil, nil))
		for call, err := range map[string]error{"Create": created, "Update": updated} {
			if problems := fielderr.All(err); len(problems) != 1 || !strings.Contains(problems[0].Message, "field 99") || !strings.Contains(problems[0].Message, "upgrade") {
				t.Errorf("%s() with %s = %v", call, name, err)
			}
		}
	}
	shown := &webhookgatewayv1.Subscription{Name: "s", Settings: &webhookgatewayv1.SubscriptionSettings{MaxAttempts: 7}, Status: newer(&webhookgatewayv1.SubscriptionStatus{})}
	if _, err := g.manager.Update(t.Context(), shown, nil, nil); err != nil {
		t.Error(err)
	}
}

// Create compares what was asked for, and Update changes what the mask names.
func TestCreateAndUpdate(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	latest := &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Position{Position: webhookgatewayv1.StartPosition_START_POSITION_LATEST}}
	earliest := &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Position{Position: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST}}
	filters := []*webhookgatewayv1.EventFilter{{ClientIds: []string{"b", "a", "a"}}}
	create := func(sub *webhookgatewayv1.Subscription) error {
		sub.Name = "s"
		return second(g.manager.Create(t.Context(), sub, fromTheBeginning))
	}
	if err := create(&webhookgatewayv1.Subscription{Filters: filters}); err != nil {
		t.Fatal(err)
	}
	g.append(t, "a", "1") // the newest event is another now, and what was asked for the same
	if err := create(&webhookgatewayv1.Subscription{Filters: []*webhookgatewayv1.EventFilter{{ClientIds: []string{"a", "b"}}}, Start: latest}); err != nil {
		t.Errorf("Create() = %v", err)
	}
	var exists *ExistsError
	if err := create(&webhookgatewayv1.Subscription{Filters: filters, Start: earliest}); !errors.As(err, &exists) || !slices.Equal(exists.Differences, []string{"start"}) {
		t.Errorf("Create() = %v, want that the start differs", err)
	}
	update := func(paths []string, sub *webhookgatewayv1.Subscription) *webhookgatewayv1.Subscription {
		t.Helper()
		sub.Name = "s"
		got, err := g.manager.Update(t.Context(), sub, &fieldmaskpb.FieldMask{Paths: paths}, nil)
		if err != nil {
			t.Fatalf("Update(%v) = %v", paths, err)
		}
		return got
	}
	deadline := &webhookgatewayv1.SubscriptionSettings{AckDeadline: durationpb.New(time.Minute), MaxAttempts: -1}
	for _, test := range []struct {
		paths    []string
		sub      *webhookgatewayv1.Subscription
		deadline time.Duration
		attempts int32
		clients  int
	}{
		{nil, &webhookgatewayv1.Subscription{Settings: deadline}, time.Minute, -1, 2},
		{[]string{"settings.max_attempts", "create_time"}, &webhookgatewayv1.Subscription{}, time.Minute, 10, 2},
		{[]string{"settings"}, &webhookgatewayv1.Subscription{}, 30 * time.Second, 10, 2},
		{[]string{"*"}, &webhookgatewayv1.Subscription{Settings: deadline}, time.Minute, -1, 0},
		{[]string{"filters"}, &webhookgatewayv1.Subscription{Filters: filters}, time.Minute, -1, 2},
	} {
		got := update(test.paths, test.sub)
		if got.GetSettings().GetAckDeadline().AsDuration() != test.deadline || got.GetSettings().GetMaxAttempts() != test.attempts ||
			len(got.GetFilters()[0].GetClientIds()) != test.clients || got.GetCreateTime() == nil {
			t.Errorf("after an update of %v: %v", test.paths, got)
		}
	}
	_, err := g.manager.Update(t.Context(), &webhookgatewayv1.Subscription{Name: "s"}, &fieldmaskpb.FieldMask{Paths: []string{"filters", "colour", "name", "status.cursor", "settings.colour"}}, nil)
	if all := fielderr.All(err); len(all) != 2 || all[0].Path != "update_mask.paths[1]" || all[1].Path != "update_mask.paths[4]" {
		t.Errorf("Update() = %v, want two problems of the mask", err)
	}
	if _, err := g.manager.Create(t.Context(), &webhookgatewayv1.Subscription{Name: "S", Settings: &webhookgatewayv1.SubscriptionSettings{MaxAttempts: -2, MaxWaiting: -1}}, fromTheBeginning); len(fielderr.All(err)) != 3 {
		t.Errorf("Create() = %v, want three problems", err)
	}
}

// A longer min_backoff does not fail at a field that the caller did not give.
func TestUpdateRaisesMaxBackoff(t *testing.T) {
	g := startGateway(t, pebblelogtest.NewDisk())
	g.create(t, "s", nil)
	update := func(s *webhookgatewayv1.SubscriptionSettings) (*webhookgatewayv1.Subscription, error) {
		return g.manager.Update(t.Context(), &webhookgatewayv1.Subscription{Name: "s", Settings: s}, nil, nil)
	}
	sub, err := update(&webhookgatewayv1.SubscriptionSettings{MinBackoff: durationpb.New(30 * time.Minute)})
	if err != nil || sub.GetSettings().GetMaxBackoff().AsDuration() != 30*time.Minute {
		t.Errorf("Update() = %v, %v, want a max_backoff of 30 minutes", sub.GetSettings(), err)
	}
	_, err = update(&webhookgatewayv1.SubscriptionSettings{MinBackoff: durationpb.New(time.Hour), MaxBackoff: durationpb.New(time.Minute)})
	if all := fielderr.All(err); len(all) != 1 || all[0].Path != "subscription.settings.max_backoff" {
		t.Errorf("Update() = %v, want that max_backoff is too short", err)
	}
}
