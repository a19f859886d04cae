package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

type tailOptions struct {
	filterOptions
	addr       string
	ago        time.Duration
	from       string
	until      string
	stopAtHead bool
	json       bool
	raw        bool
	max        int

	subscription string
}

func newTail(std streams) *cobra.Command {
	var o tailOptions
	c := &cobra.Command{
		Use:   "tail",
		Short: "Print events as they arrive, or from history",
		Long: `tail subscribes to a gateway and prints the events, one a line. It reconnects by
itself and goes on where it was: nothing is lost and nothing is printed twice.
What happens to the stream (connected, caught up, a gap, ...) is printed to stderr.
It checks that each part of the stream begins where the one before it ended, and
ends with 1 if one does not.

Events that failed verification are left out, which is said on stderr; --verdict
failed shows them.

With --subscription it shares in a durable subscription, which keeps the position:
each event is acknowledged when it is printed, so one may be printed twice. What
was not printed when tail ends is given back.

Lines for people hold neither account numbers nor login names. --json and --raw
print everything that the event has.`,
		Example: `  webhook-gateway tail
  webhook-gateway tail --type finicity.added --type SyncError --ago 1h
  webhook-gateway tail --from earliest --stop-at-head --json | jq .typeName`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			request, err := o.request()
			if err != nil {
				return err
			}
			conn, err := dial(o.addr)
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close() }() // nothing is left to lose
			var out printer = humanPrinter{raw: o.raw}
			if o.json {
				out = jsonPrinter{}
			}
			f := follower{addr: o.addr, note: noteTo(std.err), left: o.max}
			if o.subscription != "" {
				w := &worker{
					follower:     f,
					client:       webhookgatewayv1.NewSubscriptionServiceClient(conn),
					subscription: o.subscription,
					view:         request.GetView(),
					show: func(delivery *webhookgatewayv1.Delivery) error {
						return out.write(std.out, delivery.GetEvent(), delivery.GetAttempt())
					},
				}
				return w.run(cmd.Context())
			}
			t := &tailer{
				follower: f,
				client:   webhookgatewayv1.NewEventServiceClient(conn),
				request:  request,
				show:     func(event *webhookgatewayv1.Event) error { return out.write(std.out, event, 1) },
			}
			return t.run(cmd.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&o.addr, "addr", "localhost:9090", "the gRPC `address` of the gateway")
	o.flags(c)
	f.DurationVar(&o.ago, "ago", 0, "start this long ago, such as 1h")
	f.StringVar(&o.from, "from", "latest", "start at `where`: earliest, latest, a time (RFC 3339), or after a cursor")
	f.StringVar(&o.until, "until", "", "end at `where`: head (what is stored now), a time (RFC 3339), or a cursor")
	f.BoolVar(&o.stopAtHead, "stop-at-head", false, "the same as --until head")
	f.BoolVar(&o.json, "json", false, "print each event as one line of JSON")
	f.BoolVar(&o.raw, "raw", false, "with the body as the provider sent it")
	f.IntVarP(&o.max, "max", "n", 0, "end after this `number` of events")
	f.StringVarP(&o.subscription, "subscription", "s", "", "share in the durable subscription with this `name`, and acknowledge what is printed")
	c.MarkFlagsMutuallyExclusive("ago", "from")
	c.MarkFlagsMutuallyExclusive("until", "stop-at-head")
	for _, decided := range append(filterFlags(), "ago", "from", "until", "stop-at-head") {
		c.MarkFlagsMutuallyExclusive("subscription", decided)
	}
	// These fail only for a flag that does not exist.
	_ = c.RegisterFlagCompletionFunc("from", cobra.FixedCompletions([]string{"earliest", "latest"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("until", cobra.FixedCompletions([]string{"head"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (o tailOptions) request() (*webhookgatewayv1.SubscribeRequest, error) {
	if o.ago < 0 || o.max < 0 {
		return nil, usageError{errors.New("--ago and --max are not negative")}
	}
	r := &webhookgatewayv1.SubscribeRequest{View: webhookgatewayv1.EventView_EVENT_VIEW_FULL}
	if o.raw {
		r.View = webhookgatewayv1.EventView_EVENT_VIEW_RAW
	}
	if o.subscription != "" {
		return r, nil
	}
	filter, err := o.filter()
	if err != nil {
		return nil, err
	}
	r.Filters = []*webhookgatewayv1.EventFilter{filter}
	o.setStart(r)
	o.setStop(r)
	return r, nil
}

func (o tailOptions) setStart(r *webhookgatewayv1.SubscribeRequest) {
	at, err := time.Parse(time.RFC3339, o.from)
	switch {
	case o.ago > 0:
		r.Start = &webhookgatewayv1.SubscribeRequest_StartAgo{StartAgo: durationpb.New(o.ago)}
	case o.from == "latest":
		r.Start = &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: webhookgatewayv1.StartPosition_START_POSITION_LATEST}
	case o.from == "earliest":
		r.Start = &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST}
	case err == nil:
		r.Start = &webhookgatewayv1.SubscribeRequest_StartTime{StartTime: timestamppb.New(at)}
	default:
		r.Start = &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: o.from}
	}
}

func (o tailOptions) setStop(r *webhookgatewayv1.SubscribeRequest) {
	at, err := time.Parse(time.RFC3339, o.until)
	switch {
	case o.stopAtHead, o.until == "head":
		r.Stop = &webhookgatewayv1.SubscribeRequest_StopAtHead{StopAtHead: true}
	case o.until == "":
	case err == nil:
		r.Stop = &webhookgatewayv1.SubscribeRequest_StopTime{StopTime: timestamppb.New(at)}
	default:
		r.Stop = &webhookgatewayv1.SubscribeRequest_StopCursor{StopCursor: o.until}
	}
}

// noteTo returns a function that prints what happens to a stream.
func noteTo(w io.Writer) func(format string, args ...any) {
	return func(format string, args ...any) {
		_, _ = fmt.Fprintf(w, "# "+format+"\n", args...) // a note that nobody reads ends nothing
	}
}
