package main

import (
	"github.com/spf13/cobra"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
)

// filterOptions are the flags that select events.
type filterOptions struct {
	types            []string
	providers        []string
	clients          []string
	excludedClients  []string
	subjects         []string
	verdicts         []string
	providerEventIDs []string
}

// filterFlags are the names of the flags that select events.
func filterFlags() []string {
	return []string{"type", "provider", "client", "exclude-client", "subject", "verdict", "provider-event-id"}
}

func (o *filterOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringSliceVarP(&o.types, "type", "t", nil, "only events of this `type`, such as finicity.added, SyncError or unrecognized (repeat for more)")
	f.StringSliceVarP(&o.providers, "provider", "p", nil, "only events of this `provider`, finicity or vezgo (repeat for more)")
	f.StringSliceVarP(&o.clients, "client", "c", nil, "only events of this client `id` (repeat for more)")
	f.StringSliceVar(&o.excludedClients, "exclude-client", nil, "no events of this client `id` (repeat for more; those of the gateway's canary come only with --client "+provider.CanaryClientID+")")
	f.StringSliceVar(&o.subjects, "subject", nil, "only events about this `subject`: Finicity's customer id, Vezgo's user id (repeat for more)")
	f.StringSliceVar(&o.verdicts, "verdict", nil, "only events with this `verdict`: verified, failed or not-checked (repeat for more; default all but failed)")
	f.StringSliceVar(&o.providerEventIDs, "provider-event-id", nil, "only the event with this `id` of its provider, Finicity's eventId (repeat for more)")
	// These fail only for a flag that does not exist.
	_ = c.RegisterFlagCompletionFunc("type", completeTypes)
	_ = c.RegisterFlagCompletionFunc("provider", completeProviders)
	_ = c.RegisterFlagCompletionFunc("verdict", completeNames("verified", "failed", "not-checked"))
}

// given reports whether a flag that selects events was given.
func (o *filterOptions) given(c *cobra.Command) bool {
	for _, name := range filterFlags() {
		if c.Flags().Changed(name) {
			return true
		}
	}
	return false
}

func (o *filterOptions) filter() (*webhookgatewayv1.EventFilter, error) {
	filter := &webhookgatewayv1.EventFilter{
		ClientIds: o.clients, ExcludeClientIds: o.excludedClients, Subjects: o.subjects, ProviderEventIds: o.providerEventIDs,
	}
	var err error
	if filter.EventTypes, err = parseAll(o.types, all.ParseType); err != nil {
		return nil, err
	}
	if filter.Providers, err = parseAll(o.providers, parseProvider); err != nil {
		return nil, err
	}
	if filter.Verdicts, err = parseAll(o.verdicts, all.ParseVerdict); err != nil {
		return nil, err
	}
	return filter, nil
}
