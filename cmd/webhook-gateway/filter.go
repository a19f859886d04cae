package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// filterOptions are the flags that select events.
type filterOptions struct {
	types            []string
	providers        []string
	clients          []string
	subjects         []string
	verdicts         []string
	providerEventIDs []string
}

// filterFlags are the names of the flags that select events.
func filterFlags() []string {
	return []string{"type", "provider", "client", "subject", "verdict", "provider-event-id"}
}

// verdicts are the verdicts of verification by their names on the command line.
func verdicts() map[string]webhookgatewayv1.VerificationVerdict {
	return map[string]webhookgatewayv1.VerificationVerdict{
		"verified":    webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED,
		"failed":      webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED,
		"not-checked": webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_NOT_CHECKED,
	}
}

func (o *filterOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringSliceVarP(&o.types, "type", "t", nil, "only events of this `type`, such as finicity.added, SyncError or unrecognized (repeat for more)")
	f.StringSliceVarP(&o.providers, "provider", "p", nil, "only events of this `provider`, finicity or vezgo (repeat for more)")
	f.StringSliceVarP(&o.clients, "client", "c", nil, "only events of this client `id` (repeat for more)")
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
	filter := &webhookgatewayv1.EventFilter{ClientIds: o.clients, Subjects: o.subjects, ProviderEventIds: o.providerEventIDs}
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
	for _, name := range o.verdicts {
		verdict, known := verdicts()[strings.ToLower(name)]
		if !known {
			return nil, usageError{fmt.Errorf("%q is no verdict: choose verified, failed or not-checked", name)}
		}
		filter.Verdicts = append(filter.Verdicts, verdict)
	}
	return filter, nil
}
