package all

import (
	"fmt"
	"slices"
	"strings"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

// Unrecognized is the name of the type of events that the gateway does not know.
const Unrecognized = "unrecognized"

// An EventType is a type of event as people write it, on the command line and in the
// configuration.
type EventType struct {
	Sender provider.Sender
	Sample provider.Sample
}

// Name is the unambiguous name, such as `finicity.added`.
func (t EventType) Name() string { return t.Sender.Name() + "." + t.Sample.TypeName }

func (t EventType) matches(text string) bool {
	for _, name := range []string{t.Name(), t.Sample.TypeName, t.Sample.Type.String()} {
		if strings.EqualFold(text, name) {
			return true
		}
	}
	return false
}

// EventTypes returns every type of event, in the order of the enum.
func EventTypes() []EventType {
	var list []EventType
	for _, sender := range Senders() {
		for _, sample := range sender.Samples() {
			list = append(list, EventType{Sender: sender, Sample: sample})
		}
	}
	return list
}

// FindEventType returns the type with a name: `finicity.added`, `added`, or that of the
// enum.
func FindEventType(text string) (EventType, error) {
	types := EventTypes()
	if i := slices.IndexFunc(types, func(t EventType) bool { return t.matches(text) }); i >= 0 {
		return types[i], nil
	}
	return EventType{}, fmt.Errorf("%q is no event type: choose from %s", text, strings.Join(TypeNames(), ", "))
}

// TypeNames returns the unambiguous names of all types.
func TypeNames() []string {
	var names []string
	for _, t := range EventTypes() {
		names = append(names, t.Name())
	}
	return names
}

// ParseType returns the value of the enum for a type as people write it, among them
// Unrecognized.
func ParseType(text string) (webhookgatewayv1.EventType, error) {
	const unrecognized = webhookgatewayv1.EventType_EVENT_TYPE_UNRECOGNIZED
	if strings.EqualFold(text, Unrecognized) || strings.EqualFold(text, unrecognized.String()) {
		return unrecognized, nil
	}
	t, err := FindEventType(text)
	return t.Sample.Type, err
}

// FindSender returns the provider with a name: `finicity`, or that of the enum.
func FindSender(name string) (provider.Sender, error) {
	var names []string
	for _, sender := range Senders() {
		if strings.EqualFold(name, sender.Name()) || strings.EqualFold(name, sender.ID().String()) {
			return sender, nil
		}
		names = append(names, sender.Name())
	}
	return nil, fmt.Errorf("%q is no provider: choose from %s", name, strings.Join(names, ", "))
}

// ParseVerdict returns the verdict of verification with a name.
func ParseVerdict(name string) (webhookgatewayv1.VerificationVerdict, error) {
	switch strings.ToLower(name) {
	case "verified":
		return webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED, nil
	case "failed":
		return webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED, nil
	case "not-checked":
		return webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_NOT_CHECKED, nil
	}
	return 0, fmt.Errorf("%q is no verdict: choose verified, failed or not-checked", name)
}
