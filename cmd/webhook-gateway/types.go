package main

import (
	"fmt"
	"slices"
	"strings"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
)

// unrecognized selects the events of types that the gateway does not know.
const unrecognized = "unrecognized"

// An eventType is a type of event as people write it.
type eventType struct {
	sender provider.Sender
	sample provider.Sample
}

// name is the unambiguous name, such as `finicity.added`.
func (t eventType) name() string { return t.sender.Name() + "." + t.sample.TypeName }

func (t eventType) matches(text string) bool {
	for _, name := range []string{t.name(), t.sample.TypeName, t.sample.Type.String()} {
		if strings.EqualFold(text, name) {
			return true
		}
	}
	return false
}

// eventTypes returns every type of event, in the order of the enum.
func eventTypes() []eventType {
	var list []eventType
	for _, sender := range all.Senders() {
		for _, sample := range sender.Samples() {
			list = append(list, eventType{sender: sender, sample: sample})
		}
	}
	return list
}

func findType(text string) (eventType, error) {
	types := eventTypes()
	if i := slices.IndexFunc(types, func(t eventType) bool { return t.matches(text) }); i >= 0 {
		return types[i], nil
	}
	return eventType{}, usageError{fmt.Errorf("%q is no event type: choose from %s", text, strings.Join(typeNames(), ", "))}
}

func typeNames() []string {
	var names []string
	for _, t := range eventTypes() {
		names = append(names, t.name())
	}
	return names
}

func findSender(name string) (provider.Sender, error) {
	var names []string
	for _, sender := range all.Senders() {
		if strings.EqualFold(name, sender.Name()) || strings.EqualFold(name, sender.ID().String()) {
			return sender, nil
		}
		names = append(names, sender.Name())
	}
	return nil, usageError{fmt.Errorf("%q is no provider: choose from %s", name, strings.Join(names, ", "))}
}

// parseTypes returns the values of the enum for types as people write them.
func parseTypes(texts []string) ([]webhookgatewayv1.EventType, error) {
	var list []webhookgatewayv1.EventType
	for _, text := range texts {
		if strings.EqualFold(text, unrecognized) || strings.EqualFold(text, webhookgatewayv1.EventType_EVENT_TYPE_UNRECOGNIZED.String()) {
			list = append(list, webhookgatewayv1.EventType_EVENT_TYPE_UNRECOGNIZED)
			continue
		}
		t, err := findType(text)
		if err != nil {
			return nil, err
		}
		list = append(list, t.sample.Type)
	}
	return list, nil
}
