package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

type listOptions struct {
	filterOptions
	outputOptions

	from, until string
	oldestFirst bool
	limit       int
}

func newEventsList(std streams, r *remote) *cobra.Command {
	var o listOptions
	c := &cobra.Command{
		Use: "list", Short: "List stored events, the newest first", Args: cobra.NoArgs,
		Long: `list prints stored events, one a line that begins with the event's id, the newest
first. Events that failed verification are left out, which is said on stderr;
--verdict failed shows them. To follow what arrives see "tail".`,
		Example: `  webhook-gateway events list
  webhook-gateway events list --limit 100 --type added --client dev
  webhook-gateway events list --from yesterday --until today --oldest-first -o json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := o.request(time.Now())
			if err != nil {
				return err
			}
			asJSON, err := o.asJSON()
			if err != nil {
				return err
			}
			var out printer = humanPrinter{withID: true, painter: std.painter()}
			if asJSON {
				out = jsonPrinter{}
			}
			return r.events(cmd.Context(), func(ctx context.Context, client webhookgatewayv1.EventServiceClient) error {
				return o.list(ctx, client, req, std, out)
			})
		},
	}
	f := c.Flags()
	o.flags(c)
	f.StringVar(&o.from, "from", "", "only events received at this `time` or later: today, yesterday, a day (2026-11-24) or a time (RFC 3339)")
	f.StringVar(&o.until, "until", "", "only events received before this `time`")
	f.BoolVar(&o.oldestFirst, "oldest-first", false, "list the oldest first")
	f.IntVarP(&o.limit, "limit", "n", 20, "list at most this `number` of events, 0 for all")
	o.flag(c)
	// These fail only for a flag that does not exist.
	_ = c.RegisterFlagCompletionFunc("from", completeNames("today", "yesterday"))
	_ = c.RegisterFlagCompletionFunc("until", completeNames("today", "yesterday"))
	return c
}

func (o listOptions) request(now time.Time) (*webhookgatewayv1.ListEventsRequest, error) {
	if o.limit < 0 {
		return nil, usageError{fmt.Errorf("--limit must be 1 or more, or 0 for all; not %d", o.limit)}
	}
	filter, err := o.filter()
	if err != nil {
		return nil, err
	}
	req := &webhookgatewayv1.ListEventsRequest{
		Filters: []*webhookgatewayv1.EventFilter{filter}, NewestFirst: !o.oldestFirst, View: webhookgatewayv1.EventView_EVENT_VIEW_FULL,
	}
	if req.StartTime, err = parseTime("from", o.from, now); err != nil {
		return nil, err
	}
	req.EndTime, err = parseTime("until", o.until, now)
	return req, err
}

func (o listOptions) list(
	ctx context.Context, client webhookgatewayv1.EventServiceClient, req *webhookgatewayv1.ListEventsRequest, std streams, out printer,
) error {
	printed, hidden := 0, int64(0)
	for {
		req.PageSize = maxPage
		if o.limit > 0 {
			req.PageSize = int32(min(o.limit-printed, maxPage))
		}
		page, err := client.ListEvents(ctx, req)
		if err != nil {
			return err
		}
		if err := printAll(std.out, out, page.GetEvents()); err != nil {
			return err
		}
		printed += len(page.GetEvents())
		hidden += page.GetLeftOutEvents()
		req.PageToken = page.GetNextPageToken()
		if req.GetPageToken() == "" || o.limit > 0 && printed >= o.limit {
			break
		}
	}
	if printed == 0 {
		note(std.err, "no stored event matches")
	}
	if hidden > 0 {
		note(std.err, "%d events were left out because they failed verification: --verdict failed shows them", hidden)
	}
	if req.GetPageToken() != "" {
		note(std.err, "there may be more: --limit 0 lists all")
	}
	return nil
}

func printAll(w io.Writer, out printer, events []*webhookgatewayv1.Event) error {
	for _, event := range events {
		if err := out.write(w, event, 1); err != nil {
			return fmt.Errorf("print an event: %w", err)
		}
	}
	return nil
}
