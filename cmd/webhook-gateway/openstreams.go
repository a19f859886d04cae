package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

func newOpenStreams(std streams) *cobra.Command {
	r, o := &remote{}, outputOptions{}
	c := &cobra.Command{
		Use: "streams", Short: "List the streams that are open", Args: cobra.NoArgs,
		Long: `streams lists who reads from the gateway, the oldest stream first: how far it is, how
fast, and whether it is the reader that is waited for. As JSON it also has the filters.
It is for operators.`,
		Example: `  webhook-gateway streams
  webhook-gateway streams -o json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := o.asJSON()
			if err != nil {
				return err
			}
			return r.operator(cmd.Context(), func(ctx context.Context, client webhookgatewayv1.OperatorServiceClient) error {
				list, err := listStreams(ctx, client)
				if err != nil {
					return err
				}
				return printStreams(std.out, list, asJSON)
			})
		},
	}
	r.flag(c, std.environ)
	o.flag(c)
	return c
}

// listStreams returns all streams of a gateway.
func listStreams(ctx context.Context, client webhookgatewayv1.OperatorServiceClient) ([]*webhookgatewayv1.OpenStream, error) {
	var all []*webhookgatewayv1.OpenStream
	req := &webhookgatewayv1.ListStreamsRequest{PageSize: maxPage}
	for {
		page, err := client.ListStreams(ctx, req)
		if err != nil {
			return nil, err
		}
		all = append(all, page.GetStreams()...)
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			return all, nil
		}
	}
}

// printStreams prints a table of streams, or one JSON object each.
func printStreams(w io.Writer, list []*webhookgatewayv1.OpenStream, asJSON bool) error {
	if asJSON {
		return printMessages(w, list)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ID\tCALLER\tADDRESS\tSUBSCRIPTION\tVIEW\tOPEN SINCE\tLAG\tIN FLIGHT\tSENT\tEVENTS/S\tDELAY\tBLOCKED\tCLIENT") // Flush returns its error
	for _, one := range list {
		delay := ""
		if one.GetDelay() != nil {
			delay = one.GetDelay().AsDuration().Round(time.Millisecond).String()
		}
		lag, inFlight := strconv.FormatInt(one.GetLagEvents(), 10), ""
		if one.GetSubscription() != "" {
			lag, inFlight = "", strconv.FormatInt(one.GetInFlightEvents(), 10)
			if one.GetInFlightEvents() < 0 {
				inFlight = "?"
			}
		}
		_, _ = fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%.1f\t%s\t%.0f %%\t%s\n",
			one.GetId(), clean(one.GetCaller()), one.GetRemoteAddress(), one.GetSubscription(),
			strings.ToLower(strings.TrimPrefix(one.GetView().String(), "EVENT_VIEW_")), one.GetOpenTime().AsTime().UTC().Format(time.RFC3339),
			lag, inFlight, one.GetSentEvents(), one.GetEventsPerSecond(), delay, 100*one.GetBlockedRatio(), clean(one.GetUserAgent()))
	}
	return table.Flush()
}
