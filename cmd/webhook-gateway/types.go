package main

import (
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
)

func findType(text string) (all.EventType, error) {
	t, err := all.FindEventType(text)
	return t, usage(err)
}

func findSender(name string) (provider.Sender, error) {
	sender, err := all.FindSender(name)
	return sender, usage(err)
}

// parseAll parses each of some texts of the command line.
func parseAll[T any](texts []string, parse func(string) (T, error)) ([]T, error) {
	var list []T
	for _, text := range texts {
		value, err := parse(text)
		if err != nil {
			return nil, usageError{err}
		}
		list = append(list, value)
	}
	return list, nil
}

func parseProvider(name string) (webhookgatewayv1.Provider, error) {
	sender, err := all.FindSender(name)
	if err != nil {
		return 0, err
	}
	return sender.ID(), nil
}
