package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

func newSubscriptionsList(std streams, r *remote) *cobra.Command {
	var o outputOptions
	c := &cobra.Command{
		Use: "list", Short: "List the subscriptions and where they stand", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := o.asJSON()
			if err != nil {
				return err
			}
			return r.call(cmd.Context(), func(ctx context.Context, client webhookgatewayv1.SubscriptionServiceClient) error {
				list, err := listSubscriptions(ctx, client)
				if err != nil {
					return err
				}
				if !asJSON {
					return printSubscriptions(std.out, list)
				}
				for _, s := range list {
					if err := printMessage(std.out, s); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	o.flag(c)
	return c
}

// listSubscriptions returns all subscriptions of a gateway.
func listSubscriptions(ctx context.Context, client webhookgatewayv1.SubscriptionServiceClient) ([]*webhookgatewayv1.Subscription, error) {
	var all []*webhookgatewayv1.Subscription
	req := &webhookgatewayv1.ListSubscriptionsRequest{}
	for {
		page, err := client.ListSubscriptions(ctx, req)
		if err != nil {
			return nil, err
		}
		all = append(all, page.GetSubscriptions()...)
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			return all, nil
		}
	}
}

// printSubscriptions prints a table of subscriptions. The owner is empty where a gateway is
// alone.
func printSubscriptions(w io.Writer, list []*webhookgatewayv1.Subscription) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "NAME\tUNREAD\tREADY\tIN FLIGHT\tWAITING\tPARKED\tSTREAMS\tOWNER\tUNUSABLE") // Flush returns its error
	for _, s := range list {
		status := s.GetStatus()
		_, _ = fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", s.GetName(),
			status.GetUnreadEvents(), status.GetReadyEvents(), status.GetInFlightEvents(),
			status.GetWaitingEvents(), status.GetParkedEvents(), status.GetStreams(), clean(status.GetOwner()), clean(status.GetUnusable()))
	}
	return table.Flush()
}
