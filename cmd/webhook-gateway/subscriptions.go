package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

func newSubscriptions(std streams) *cobra.Command {
	r := &remote{}
	c := &cobra.Command{
		Use:   "subscriptions",
		Short: "Manage durable subscriptions, which workers share",
		Long: `A durable subscription is a named position in the log that any number of workers
share: each event goes to one of them until it is acknowledged.
` + "`webhook-gateway tail --subscription NAME`" + ` is such a worker.`,
		Example: `  webhook-gateway subscriptions create billing --type added --from earliest --ordering subject
  webhook-gateway subscriptions get billing
  webhook-gateway subscriptions update billing --ack-deadline 2m
  webhook-gateway subscriptions seek billing 2026-11-01`,
	}
	r.flag(c, std.environ)
	c.AddCommand(
		newSubscriptionsList(std, r),
		newSubscriptionsCreate(std, r),
		newSubscriptionsGet(std, r),
		newSubscriptionsUpdate(std, r),
		newSubscriptionsSeek(std, r),
		newSubscriptionsDelete(r),
	)
	return c
}

func newSubscriptionsCreate(std streams, r *remote) *cobra.Command {
	var o subscriptionOptions
	from := ""
	c := &cobra.Command{
		Use: "create NAME", Short: "Create a subscription", Args: cobra.ExactArgs(1),
		Long: `create creates a subscription. Creating one again with the same filters, settings
and start changes nothing and is no error.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			subscription, _, err := o.subscription(cmd, args[0])
			if err != nil {
				return err
			}
			if subscription.Start, err = startAt(from); err != nil {
				return fmt.Errorf("--from: %w", err)
			}
			return r.call(cmd.Context(), func(ctx context.Context, client webhookgatewayv1.SubscriptionServiceClient) error {
				resp, err := client.CreateSubscription(ctx, &webhookgatewayv1.CreateSubscriptionRequest{Subscription: subscription})
				if err != nil {
					return err
				}
				return printMessage(std.out, resp.GetSubscription())
			})
		},
	}
	o.flags(c)
	c.Flags().StringVar(&from, "from", "latest", "start at this `place`: "+placesHelp)
	// It fails only for a flag that does not exist.
	_ = c.RegisterFlagCompletionFunc("from", completeNames("earliest", "latest", "today", "yesterday"))
	return c
}

func newSubscriptionsGet(std streams, r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "get NAME", Short: "Show a subscription as JSON", Args: cobra.ExactArgs(1),
		ValidArgsFunction: firstArg(completeSubscriptions(r)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.call(cmd.Context(), func(ctx context.Context, client webhookgatewayv1.SubscriptionServiceClient) error {
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
		Use: "update NAME", Short: "Change filters and settings of a subscription", Args: cobra.ExactArgs(1),
		Annotations:       map[string]string{mayClear: "true"},
		ValidArgsFunction: firstArg(completeSubscriptions(r)),
		Long: `update changes what flags name, and nothing else. The flags that select events
belong together: one of them replaces the whole filter, and --type "" removes it.
The position and the parked events stay.`,
		Example: `  webhook-gateway subscriptions update billing --ack-deadline 2m --never-park
  webhook-gateway subscriptions update billing --type added --type SyncError`,
		RunE: func(cmd *cobra.Command, args []string) error {
			subscription, paths, err := o.subscription(cmd, args[0])
			if err != nil {
				return err
			}
			if len(paths) == 0 {
				return usageError{errors.New("what should be changed? Give a flag for each")}
			}
			return r.call(cmd.Context(), func(ctx context.Context, client webhookgatewayv1.SubscriptionServiceClient) error {
				resp, err := client.UpdateSubscription(ctx, &webhookgatewayv1.UpdateSubscriptionRequest{
					Subscription: subscription, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths},
				})
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
	dryRun := false
	c := &cobra.Command{
		Use: "seek NAME WHERE", Short: "Move a subscription", Args: cobra.ExactArgs(2),
		Long: `seek moves a subscription to WHERE: earliest, latest, today, yesterday, a day
(2026-11-24), a time (2026-11-24T15:04:05Z), or after a cursor. It delivers
everything from there on, whatever was acknowledged before. With --dry-run it moves
nothing, and prints what would be delivered.`,
		ValidArgsFunction: func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return []string{"earliest", "latest", "today", "yesterday"}, cobra.ShellCompDirectiveNoFileComp
			}
			return firstArg(completeSubscriptions(r))(c, args, begun)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			start, err := startAt(args[1])
			if err != nil {
				return err
			}
			return r.call(cmd.Context(), func(ctx context.Context, client webhookgatewayv1.SubscriptionServiceClient) error {
				resp, err := client.SeekSubscription(ctx, &webhookgatewayv1.SeekSubscriptionRequest{Name: args[0], Start: start, ValidateOnly: dryRun})
				switch {
				case err != nil:
					return err
				case dryRun:
					return printMessage(std.out, resp.GetPreview())
				}
				return printMessage(std.out, resp.GetSubscription())
			})
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "move nothing, and print what would be delivered")
	return c
}

func newSubscriptionsDelete(r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Delete a subscription with its position and its parked events", Args: cobra.ExactArgs(1),
		ValidArgsFunction: firstArg(completeSubscriptions(r)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.call(cmd.Context(), func(ctx context.Context, client webhookgatewayv1.SubscriptionServiceClient) error {
				_, err := client.DeleteSubscription(ctx, &webhookgatewayv1.DeleteSubscriptionRequest{Name: args[0]})
				return err
			})
		},
	}
}

// subscriptionOptions are the flags of a subscription's filter and settings. What
// is not given has the gateway's default, or stays as it is.
type subscriptionOptions struct {
	filterOptions
	ackDeadline, minBackoff, maxBackoff, parkedRetention time.Duration
	maxAttempts, perStream, inFlight, maxWaiting         int32
	neverPark                                            bool
	ordering                                             string
}

// neverPark as max_attempts is no limit.
const neverPark = -1

func (o *subscriptionOptions) flags(c *cobra.Command) {
	o.filterOptions.flags(c)
	f := c.Flags()
	durationVar(f, &o.ackDeadline, "ack-deadline", "how long a worker has to acknowledge an event (default 30s)")
	f.Int32Var(&o.maxAttempts, "max-attempts", 0, "after how many failed `attempts` an event is parked (default 10)")
	f.BoolVar(&o.neverPark, "never-park", false, "try an event for ever, however often it fails")
	durationVar(f, &o.minBackoff, "min-backoff", "the delay before the second attempt (default 1s)")
	durationVar(f, &o.maxBackoff, "max-backoff", "the longest delay before a further attempt (default 10m)")
	f.Int32Var(&o.perStream, "max-in-flight-per-stream", 0, "the most `events` a worker holds (default 1000)")
	f.Int32Var(&o.inFlight, "max-in-flight", 0, "the most `events` all workers hold (default 10000)")
	f.Int32Var(&o.maxWaiting, "max-waiting", 0, "the most `events` that wait for another attempt (default 100000)")
	durationVar(f, &o.parkedRetention, "parked-retention", "how long a parked event is kept (default 90d)")
	f.StringVar(&o.ordering, "ordering", "none", "which events wait for which: the `ordering` none, subject or strict")
	c.MarkFlagsMutuallyExclusive("max-attempts", "never-park")
	_ = c.RegisterFlagCompletionFunc("ordering", completeNames("none", "subject", "strict"))
}

// subscription returns a subscription with what the flags of a command say, and
// the paths of the fields that they name.
func (o *subscriptionOptions) subscription(c *cobra.Command, name string) (s *webhookgatewayv1.Subscription, paths []string, err error) {
	settings := &webhookgatewayv1.SubscriptionSettings{}
	s = &webhookgatewayv1.Subscription{Name: name, Settings: settings}
	if o.given(c) {
		filter, err := o.filter()
		if err != nil {
			return nil, nil, err
		}
		if proto.Size(filter) > 0 {
			s.Filters = []*webhookgatewayv1.EventFilter{filter}
		}
		paths = append(paths, "filters")
	}
	ordering, err := parseOrdering(o.ordering)
	if err != nil {
		return nil, nil, err
	}
	for _, setting := range []struct {
		flag, field string
		set         func()
	}{
		{"ack-deadline", "ack_deadline", func() { settings.AckDeadline = durationpb.New(o.ackDeadline) }},
		{"max-attempts", "max_attempts", func() { settings.MaxAttempts = o.maxAttempts }},
		{"min-backoff", "min_backoff", func() { settings.MinBackoff = durationpb.New(o.minBackoff) }},
		{"max-backoff", "max_backoff", func() { settings.MaxBackoff = durationpb.New(o.maxBackoff) }},
		{"max-in-flight-per-stream", "max_in_flight_per_stream", func() { settings.MaxInFlightPerStream = o.perStream }},
		{"max-in-flight", "max_in_flight", func() { settings.MaxInFlight = o.inFlight }},
		{"max-waiting", "max_waiting", func() { settings.MaxWaiting = o.maxWaiting }},
		{"parked-retention", "parked_retention", func() { settings.ParkedRetention = durationpb.New(o.parkedRetention) }},
		{"ordering", "ordering", func() { settings.Ordering = ordering }},
		{"never-park", "max_attempts", func() {
			if o.neverPark { // --never-park=false is the default
				settings.MaxAttempts = neverPark
			}
		}},
	} {
		if c.Flags().Changed(setting.flag) {
			setting.set()
			paths = append(paths, "settings."+setting.field)
		}
	}
	return s, paths, nil
}

func parseOrdering(name string) (webhookgatewayv1.Ordering, error) {
	switch name {
	case "none":
		return webhookgatewayv1.Ordering_ORDERING_NONE, nil
	case "subject":
		return webhookgatewayv1.Ordering_ORDERING_BY_SUBJECT, nil
	case "strict":
		return webhookgatewayv1.Ordering_ORDERING_STRICT, nil
	}
	return 0, usageError{fmt.Errorf("%q is no ordering: choose none, subject or strict", name)}
}
