package main

import (
	"github.com/spf13/cobra"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// filterOptions are the flags that select events.
type filterOptions struct {
	types     []string
	providers []string
	clients   []string
}

func (o *filterOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringSliceVarP(&o.types, "type", "t", nil, "only events of this `type`, such as finicity.added, SyncError or unrecognized (repeat for more)")
	f.StringSliceVarP(&o.providers, "provider", "p", nil, "only events of this `provider`, finicity or vezgo (repeat for more)")
	f.StringSliceVarP(&o.clients, "client", "c", nil, "only events of this client `id` (repeat for more)")
	// These fail only for a flag that does not exist.
	_ = c.RegisterFlagCompletionFunc("type", completeTypes)
	_ = c.RegisterFlagCompletionFunc("provider", completeProviders)
}

func (o *filterOptions) filter() (*webhookgatewayv1.EventFilter, error) {
	filter := &webhookgatewayv1.EventFilter{ClientIds: o.clients}
	var err error
	if filter.EventTypes, err = parseTypes(o.types); err != nil {
		return nil, err
	}
	for _, name := range o.providers {
		sender, err := findSender(name)
		if err != nil {
			return nil, err
		}
		filter.Providers = append(filter.Providers, sender.ID())
	}
	return filter, nil
}
