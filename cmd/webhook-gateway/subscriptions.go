package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// A remote runs a command's call on the gateway that --addr names.
type remote struct{ addr string }

func (r *remote) flag(c *cobra.Command) {
	c.PersistentFlags().StringVar(&r.addr, "addr", "localhost:9090", "the gRPC `address` of the gateway")
}

func (r *remote) call(ctx context.Context, call func(context.Context, webhookgatewayv1.EventServiceClient) error) error {
	conn, err := dial(r.addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing is left to lose
	if err := call(ctx, webhookgatewayv1.NewEventServiceClient(conn)); err != nil {
		return explain(r.addr, err)
	}
	return nil
}

func newSubscriptions(std streams) *cobra.Command {
	r := &remote{}
	c := &cobra.Command{
		Use:   "subscriptions",
		Short: "Manage durable subscriptions, which workers share",
		Long: `A durable subscription is a named position in the log that any number of workers
share: each event goes to one of them until it is acknowledged.
` + "`webhook-gateway tail --subscription NAME`" + ` is such a worker.`,
		Example: `  webhook-gateway subscriptions create billing --type added --from earliest --ordering customer
  webhook-gateway subscriptions show billing
  webhook-gateway subscriptions seek billing 2026-11-01T00:00:00Z`,
		Args: cobra.NoArgs,
	}
	r.flag(c)
	c.AddCommand(
		newSubscriptionsList(std, r),
		newSubscriptionsCreate(std, r),
		newSubscriptionsShow(std, r),
		newSubscriptionsUpdate(std, r),
		newSubscriptionsSeek(std, r),
		newSubscriptionsDelete(r),
	)
	return c
}

func newSubscriptionsList(std streams, r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the subscriptions and where they stand", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.call(cmd.Context(), func(ctx context.Context, client webhookgatewayv1.EventServiceClient) error {
				var all []*webhookgatewayv1.Subscription
				req := &webhookgatewayv1.ListSubscriptionsRequest{}
				for {
					page, err := client.ListSubscriptions(ctx, req)
					if err != nil {
						return err
					}
					all = append(all, page.GetSubscriptions()...)
					if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
						return printSubscriptions(std.out, all)
					}
				}
			})
		},
	}
}

func newSubscriptionsCreate(std streams, r *remote) *cobra.Command {
	var o subscriptionOptions
	from := ""
	c := &cobra.Command{
		Use: "create NAME", Short: "Create a subscription", Args: cobra.ExactArgs(1),
		Long: `create creates a subscription. Creating one again with the same filters and
settings changes nothing and is no error.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			subscription, err := o.subscription(args[0])
			if err != nil {
				return err
			}
			return r.call(cmd.Context(), func(ctx context.Context, client webhookgatewayv1.EventServiceClient) error {
				resp, err := client.CreateSubscription(ctx, &webhookgatewayv1.CreateSubscriptionRequest{
					Subscription: subscription, Start: startAt(from),
				})
				if err != nil {
					return err
				}
				return printMessage(std.out, resp.GetSubscription())
			})
		},
	}
	o.flags(c)
	c.Flags().StringVar(&from, "from", "latest", "start at `where`: earliest, latest, a time (RFC 3339), or after a cursor")
	return c
}

func newSubscriptionsShow(std streams, r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a subscription as JSON", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.call(cmd.Context(), func(ctx context.Context, client webhookgatewayv1.EventServiceClient) error {
				resp, err := client.GetSubscription(ctx, &webhookgatewayv1.GetSubscriptionRequest{Name: args[0]})
				if err != nil {
					return err
				}
				return printMessage(std.out, resp.GetSubscription())
			})
		},
	}
}

func newSubscriptionsUpdate(std streams, r *remote) *cobra.Command {
	var o subscriptionOptions
	c := &cobra.Command{
		Use: "update NAME", Short: "Replace the filters and settings of a subscription", Args: cobra.ExactArgs(1),
		Long: `update replaces the filters and settings of a subscription, all of them: what is not
given becomes the default. The position and the parked events stay.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			subscription, err := o.subscription(args[0])
			if err != nil {
				return err
			}
			return r.call(cmd.Context(), func(ctx context.Context, client webhookgatewayv1.EventServiceClient) error {
				resp, err := client.UpdateSubscription(ctx, &webhookgatewayv1.UpdateSubscriptionRequest{Subscription: subscription})
				if err != nil {
					return err
				}
				return printMessage(std.out, resp.GetSubscription())
			})
		},
	}
	o.flags(c)
	return c
}

func newSubscriptionsSeek(std streams, r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "seek NAME WHERE", Short: "Move a subscription", Args: cobra.ExactArgs(2),
		Long: `seek moves a subscription to WHERE: earliest, latest, a time (RFC 3339), or after a
cursor. It delivers everything from there on, whatever was acknowledged before.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.call(cmd.Context(), func(ctx context.Context, client webhookgatewayv1.EventServiceClient) error {
				resp, err := client.SeekSubscription(ctx, &webhookgatewayv1.SeekSubscriptionRequest{Name: args[0], Start: startAt(args[1])})
				if err != nil {
					return err
				}
				return printMessage(std.out, resp.GetSubscription())
			})
		},
	}
}

func newSubscriptionsDelete(r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Delete a subscription with its position and its parked events", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.call(cmd.Context(), func(ctx context.Context, client webhookgatewayv1.EventServiceClient) error {
				_, err := client.DeleteSubscription(ctx, &webhookgatewayv1.DeleteSubscriptionRequest{Name: args[0]})
				return err
			})
		},
	}
}

// subscriptionOptions are the flags of a subscription's filter and settings. What
// is not given has the gateway's default.
type subscriptionOptions struct {
	filterOptions
	ackDeadline, minBackoff, maxBackoff time.Duration
	maxAttempts, perStream, inFlight    int32
	ordering                            string
}

func (o *subscriptionOptions) flags(c *cobra.Command) {
	o.filterOptions.flags(c)
	f := c.Flags()
	f.DurationVar(&o.ackDeadline, "ack-deadline", 0, "how long a worker has to acknowledge an event (default 30s)")
	f.Int32Var(&o.maxAttempts, "max-attempts", 0, "after how many `deliveries` an event is parked (default 10)")
	f.DurationVar(&o.minBackoff, "min-backoff", 0, "the delay before the second delivery (default 1s)")
	f.DurationVar(&o.maxBackoff, "max-backoff", 0, "the longest delay before a further delivery (default 10m)")
	f.Int32Var(&o.perStream, "max-in-flight-per-stream", 0, "the most `events` a worker holds (default 1000)")
	f.Int32Var(&o.inFlight, "max-in-flight", 0, "the most `events` all workers hold (default 10000)")
	f.StringVar(&o.ordering, "ordering", "none", "which events wait for which: none, customer or strict")
	_ = c.RegisterFlagCompletionFunc("ordering", cobra.FixedCompletions([]string{"none", "customer", "strict"}, cobra.ShellCompDirectiveNoFileComp))
}

func (o *subscriptionOptions) subscription(name string) (*webhookgatewayv1.Subscription, error) {
	settings := &webhookgatewayv1.SubscriptionSettings{
		MaxAttempts: o.maxAttempts, MaxInFlightPerStream: o.perStream, MaxInFlight: o.inFlight,
		AckDeadline: optional(o.ackDeadline), MinBackoff: optional(o.minBackoff), MaxBackoff: optional(o.maxBackoff),
	}
	switch o.ordering {
	case "none":
		settings.Ordering = webhookgatewayv1.Ordering_ORDERING_NONE
	case "customer":
		settings.Ordering = webhookgatewayv1.Ordering_ORDERING_BY_CUSTOMER
	case "strict":
		settings.Ordering = webhookgatewayv1.Ordering_ORDERING_STRICT
	default:
		return nil, usageError{fmt.Errorf("%q is no ordering: choose none, customer or strict", o.ordering)}
	}
	s := &webhookgatewayv1.Subscription{Name: name, Settings: settings}
	if len(o.types)+len(o.providers)+len(o.clients) == 0 {
		return s, nil
	}
	filter, err := o.filter()
	if err != nil {
		return nil, err
	}
	s.Filters = []*webhookgatewayv1.EventFilter{filter}
	return s, nil
}

func optional(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

// startAt understands a place in the log as people write it.
func startAt(where string) *webhookgatewayv1.SubscriptionStart {
	at, err := time.Parse(time.RFC3339, where)
	switch {
	case where == "earliest":
		return &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Position{Position: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST}}
	case where == "latest":
		return &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Position{Position: webhookgatewayv1.StartPosition_START_POSITION_LATEST}}
	case err == nil:
		return &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Time{Time: timestamppb.New(at)}}
	}
	return &webhookgatewayv1.SubscriptionStart{Start: &webhookgatewayv1.SubscriptionStart_Cursor{Cursor: where}}
}

var errNothingChosen = usageError{errors.New("name the ids of the events, or give --all")}
