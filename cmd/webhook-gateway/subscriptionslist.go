package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
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

// printSubscriptions prints a table of subscriptions. Owners are left out where the gateway is alone, and why
// a subscription is unusable if none is.
func printSubscriptions(w io.Writer, list []*webhookgatewayv1.Subscription) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	owners := slices.ContainsFunc(list, func(s *webhookgatewayv1.Subscription) bool { return s.GetStatus().GetOwner() != "" })
	unusable := slices.ContainsFunc(list, func(s *webhookgatewayv1.Subscription) bool { return s.GetStatus().GetUnusable() != "" })
	row := func(text, owner, why string) {
		if owners {
			text += "\t" + cmp.Or(clean(owner), "-")
		}
		if unusable {
			text += "\t" + cmp.Or(clean(why), "-")
		}
		_, _ = fmt.Fprintln(table, text) // Flush returns its error
	}
	row("NAME\tUNREAD\tREADY\tIN FLIGHT\tWAITING\tPARKED\tSTREAMS", "OWNER", "UNUSABLE")
	for _, s := range list {
		status := s.GetStatus()
		row(fmt.Sprintf("%s\t%d\t%d\t%d\t%d\t%d\t%d", s.GetName(),
			status.GetUnreadEvents(), status.GetReadyEvents(), status.GetInFlightEvents(),
			status.GetWaitingEvents(), status.GetParkedEvents(), status.GetStreams()), status.GetOwner(), status.GetUnusable())
	}
	return table.Flush()
}
