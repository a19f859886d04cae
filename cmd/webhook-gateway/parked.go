package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

func newParked(std streams) *cobra.Command {
	r := &remote{}
	c := &cobra.Command{
		Use:   "parked",
		Short: "List, replay and discard the events that a subscription gave up on",
		Example: `  webhook-gateway parked list billing
  webhook-gateway parked replay billing eFEJkM9V41P6AAAAAAAAAAE40hhW
  webhook-gateway parked discard billing --all`,
	}
	r.flag(c, std.environ)
	replay := func(ctx context.Context, client webhookgatewayv1.SubscriptionServiceClient, name string, ids []string, all bool) (int64, []string, error) {
		resp, err := client.ReplayParkedEvents(ctx, &webhookgatewayv1.ReplayParkedEventsRequest{Subscription: name, EventIds: ids, All: all})
		return resp.GetReplayedEvents(), resp.GetUnknownEventIds(), err
	}
	discard := func(ctx context.Context, client webhookgatewayv1.SubscriptionServiceClient, name string, ids []string, all bool) (int64, []string, error) {
		resp, err := client.DiscardParkedEvents(ctx, &webhookgatewayv1.DiscardParkedEventsRequest{Subscription: name, EventIds: ids, All: all})
		return resp.GetDiscardedEvents(), resp.GetUnknownEventIds(), err
	}
	c.AddCommand(
		newParkedList(std, r),
		newParkedChange(std, r, "replay", "Deliver parked events again", "replayed", replay),
		newParkedChange(std, r, "discard", "Settle parked events for good", "discarded", discard),
	)
	return c
}

func newParkedList(std streams, r *remote) *cobra.Command {
	var o outputOptions
	c := &cobra.Command{
		Use: "list NAME", Short: "List the parked events of a subscription", Args: cobra.ExactArgs(1),
		ValidArgsFunction: firstArg(completeSubscriptions(r)),
		Long: `list prints the parked events of a subscription, one a line. With -o json each is
one line of JSON, with the whole event.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			asJSON, err := o.asJSON()
			if err != nil {
				return err
			}
			return r.call(cmd.Context(), func(ctx context.Context, client webhookgatewayv1.SubscriptionServiceClient) error {
				req := &webhookgatewayv1.ListParkedEventsRequest{Subscription: args[0], View: webhookgatewayv1.EventView_EVENT_VIEW_METADATA}
				if asJSON {
					req.View = webhookgatewayv1.EventView_EVENT_VIEW_FULL
				}
				n := 0
				for {
					page, err := client.ListParkedEvents(ctx, req)
					if err != nil {
						return err
					}
					for _, p := range page.GetParkedEvents() {
						if err := printParked(std.out, p, asJSON); err != nil {
							return err
						}
					}
					n += len(page.GetParkedEvents())
					if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
						break
					}
				}
				if n == 0 {
					note(std.err, "no event is parked")
				}
				return nil
			})
		},
	}
	o.flag(c)
	o.shortFlag(c)
	return c
}

func printParked(w io.Writer, p *webhookgatewayv1.ParkedEvent, asJSON bool) error {
	if asJSON {
		return printMessage(w, p)
	}
	reason := strings.ToLower(strings.TrimPrefix(p.GetReason().String(), "PARK_REASON_"))
	_, err := fmt.Fprintf(w, "%s  %s  %-12s  attempts: %-4d  %s.%s  %s\n", p.GetEvent().GetId(),
		p.GetParkTime().AsTime().Local().Format("2006-01-02 15:04:05"), reason, p.GetAttempts(),
		providerName(p.GetEvent()), typeName(p.GetEvent()), visible(p.GetMessage()))
	return err
}

// change is a call that does something with parked events. It returns how many,
// and which ids are not parked.
type change func(ctx context.Context, client webhookgatewayv1.SubscriptionServiceClient, name string, ids []string, all bool) (int64, []string, error)

func newParkedChange(std streams, r *remote, verb, short, done string, do change) *cobra.Command {
	all := false
	c := &cobra.Command{
		Use: verb + " NAME [ID...]", Short: short, Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: firstArg(completeSubscriptions(r)),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, ids := args[0], args[1:]
			switch {
			case all && len(ids) > 0:
				return usageError{errors.New("name the ids of the events, or give --all, not both")}
			case !all && len(ids) == 0:
				return usageError{fmt.Errorf("which events: name their ids, as `parked list %s` shows them, or give --all", name)}
			}
			return r.call(cmd.Context(), func(ctx context.Context, client webhookgatewayv1.SubscriptionServiceClient) error {
				n, unknown, err := do(ctx, client, name, ids, all)
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintf(std.out, "%s %d\n", done, n); err != nil {
					return err
				}
				if len(unknown) > 0 {
					return fmt.Errorf("not parked: %s", strings.Join(unknown, ", "))
				}
				return nil
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "all of them")
	return c
}
