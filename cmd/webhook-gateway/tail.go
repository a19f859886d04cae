package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

type tailOptions struct {
	filterOptions
	outputOptions
	remote

	ago        time.Duration
	from       string
	last       int
	until      string
	stopAtHead bool
	onExpired  string
	raw        bool
	max        int

	forwardTo    string
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

With --forward-to it sends each event on to a URL, as its provider sent it: the
same body, with the headers that the gateway stored, the signature among them. It
prints one line an answer, and does not send again what was not answered 2xx:
"events resend" does that. If tail is to end (--stop-at-head, --until, --max) it
ends with 1 if there were such events.

With --subscription it shares in a durable subscription, which keeps the position:
each event is acknowledged when it is printed, so one may be printed twice. What
was not printed when tail ends is given back.

Lines for people hold neither account numbers nor login names. -o json and --raw
print everything that the event has.`,
		Example: `  webhook-gateway tail
  webhook-gateway tail -n 5
  webhook-gateway tail --type added --type SyncError --ago 1d
  webhook-gateway tail --from yesterday --until today
  webhook-gateway tail --from earliest --stop-at-head -o json
  webhook-gateway tail --forward-to http://localhost:3000/webhooks`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			request, err := o.request(time.Now())
			if err != nil {
				return err
			}
			asJSON, err := o.asJSON()
			if err != nil {
				return err
			}
			conn, err := o.dial()
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close() }() // nothing is left to lose
			var out printer = humanPrinter{raw: o.raw, painter: std.painter()}
			if asJSON {
				out = jsonPrinter{}
			}
			f := follower{addr: o.addr, note: noteTo(std.err), left: o.max}
			if o.subscription != "" {
				return o.consume(cmd.Context(), conn, f, request.GetView(), func(d *webhookgatewayv1.Delivery) error {
					return out.write(std.out, d.GetEvent(), d.GetAttempt())
				})
			}
			t := &tailer{
				follower: f,
				client:   webhookgatewayv1.NewEventServiceClient(conn),
				request:  request,
				show:     func(event *webhookgatewayv1.Event) error { return out.write(std.out, event, 1) },
			}
			if cmd.Flags().Changed("last") {
				t.prepare = func(ctx context.Context) error { return beforeLast(ctx, t.client, request, o.last) }
			}
			if o.forwardTo == "" {
				return t.run(cmd.Context())
			}
			return o.forward(cmd.Context(), std, t)
		},
	}
	o.tailFlags(c, std.environ)
	return c
}

func (o *tailOptions) tailFlags(c *cobra.Command, environ []string) {
	f := c.Flags()
	o.remote.flag(c, environ)
	o.flags(c)
	f.StringVar(&o.from, "from", "latest", "start at this `place`: "+placesHelp)
	durationVar(f, &o.ago, "ago", "start this long ago, such as 1h or 2d")
	f.IntVarP(&o.last, "last", "n", 0, "start with the last `number` of events, and follow")
	f.StringVar(&o.until, "until", "", "end at this `place`: head (what is stored now), or as for --from")
	f.BoolVar(&o.stopAtHead, "stop-at-head", false, "the same as --until head")
	f.IntVar(&o.max, "max", 0, "end after this `number` of events (default no limit)")
	f.StringVar(&o.onExpired, "on-expired", "fail", "if events after the start are no longer retained: `what` to do, fail, or earliest to go on at the earliest")
	o.outputOptions.flag(c)
	o.shortFlag(c)
	f.BoolVar(&o.raw, "raw", false, "with the body as the provider sent it")
	f.StringVar(&o.forwardTo, "forward-to", "", "send each event to this `URL`, as its provider sent it")
	f.StringVarP(&o.subscription, "subscription", "s", "", "share in the durable subscription with this `name`, and acknowledge what is printed")
	c.MarkFlagsMutuallyExclusive("ago", "from", "last")
	c.MarkFlagsMutuallyExclusive("until", "stop-at-head")
	for _, decided := range append(filterFlags(), "ago", "from", "last", "until", "stop-at-head", "on-expired", "forward-to") {
		c.MarkFlagsMutuallyExclusive("subscription", decided)
	}
	for _, printed := range []string{"output", "json", "raw"} {
		c.MarkFlagsMutuallyExclusive("forward-to", printed)
	}
	// These fail only for a flag that does not exist.
	_ = c.RegisterFlagCompletionFunc("from", completeNames("earliest", "latest", "today", "yesterday"))
	_ = c.RegisterFlagCompletionFunc("until", completeNames("head", "latest", "today", "yesterday"))
	_ = c.RegisterFlagCompletionFunc("on-expired", completeNames("fail", "earliest"))
	_ = c.RegisterFlagCompletionFunc("subscription", completeSubscriptions(&o.remote))
}

// consume prints what a durable subscription delivers.
func (o tailOptions) consume(
	ctx context.Context, conn grpc.ClientConnInterface, f follower, view webhookgatewayv1.EventView, show func(*webhookgatewayv1.Delivery) error,
) error {
	w := &worker{
		follower:     f,
		client:       webhookgatewayv1.NewSubscriptionServiceClient(conn),
		subscription: o.subscription,
		view:         view,
		show:         show,
	}
	return w.run(ctx)
}

// forward sends events on instead of printing them.
func (o tailOptions) forward(ctx context.Context, std streams, t *tailer) error {
	to, err := newForwarder("--forward-to", o.forwardTo, std)
	if err != nil {
		return err
	}
	defer to.close()
	t.request.View = webhookgatewayv1.EventView_EVENT_VIEW_RAW
	t.show = func(event *webhookgatewayv1.Event) error { return to.forward(ctx, event) }
	if err := t.run(ctx); err != nil || !t.finite && o.max == 0 {
		return err
	}
	return to.result()
}

func (o tailOptions) request(now time.Time) (*webhookgatewayv1.SubscribeRequest, error) {
	if o.max < 0 || o.last < 0 {
		return nil, usageError{errors.New("--max and --last must not be negative")}
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
	switch o.onExpired {
	case "fail":
	case "earliest":
		r.OnExpired = webhookgatewayv1.ExpiredPolicy_EXPIRED_POLICY_EARLIEST
	default:
		return nil, usageError{fmt.Errorf("--on-expired must be fail or earliest, not %q", o.onExpired)}
	}
	if err := o.setStart(r, now); err != nil {
		return nil, err
	}
	return r, o.setStop(r, now)
}

func (o tailOptions) setStart(r *webhookgatewayv1.SubscribeRequest, now time.Time) error {
	if o.ago > 0 {
		r.Start = &webhookgatewayv1.SubscribeRequest_StartAgo{StartAgo: durationpb.New(o.ago)}
		return nil
	}
	at, err := parsePlace(o.from, now)
	switch {
	case err != nil:
		return fmt.Errorf("--from: %w", err)
	case at.cursor != "":
		r.Start = &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: at.cursor}
	case !at.time.IsZero():
		r.Start = &webhookgatewayv1.SubscribeRequest_StartTime{StartTime: timestamppb.New(at.time)}
	default:
		r.Start = &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: at.position}
	}
	return nil
}

func (o tailOptions) setStop(r *webhookgatewayv1.SubscribeRequest, now time.Time) error {
	if o.until == "" && !o.stopAtHead {
		return nil
	}
	if o.stopAtHead || o.until == "head" || o.until == "latest" {
		r.Stop = &webhookgatewayv1.SubscribeRequest_StopAtHead{StopAtHead: true}
		return nil
	}
	at, err := parsePlace(o.until, now)
	switch {
	case err != nil:
		return fmt.Errorf("--until: %w", err)
	case at.cursor != "":
		r.Stop = &webhookgatewayv1.SubscribeRequest_StopCursor{StopCursor: at.cursor}
	case !at.time.IsZero():
		r.Stop = &webhookgatewayv1.SubscribeRequest_StopTime{StopTime: timestamppb.New(at.time)}
	default:
		return usageError{errors.New("--until earliest would print nothing: give head, a time or a cursor")}
	}
	return nil
}

// noteTo returns a function that prints what happens to a stream.
func noteTo(w io.Writer) func(format string, args ...any) {
	return func(format string, args ...any) { note(w, format, args...) }
}
