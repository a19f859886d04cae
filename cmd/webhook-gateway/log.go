package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

func newLog(std streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "log",
		Short: "Look at the event log as a whole",
	}
	c.AddCommand(
		newLogInfo(std),
		newLogVerifyCommand(std),
		newLogRepairCommand(std),
		newLogCopyCommand(std),
	)
	return c
}

func newLogInfo(std streams) *cobra.Command {
	r := &remote{}
	var o outputOptions
	c := &cobra.Command{
		Use: "info", Short: "Show where the log of a gateway begins and ends", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := o.asJSON()
			if err != nil {
				return err
			}
			return r.events(cmd.Context(), func(ctx context.Context, client webhookgatewayv1.EventServiceClient) error {
				info, err := client.GetLogInfo(ctx, &webhookgatewayv1.GetLogInfoRequest{})
				if err != nil {
					return err
				}
				if asJSON {
					return printMessage(std.out, info)
				}
				return printLogInfo(std.out, info)
			})
		},
	}
	r.flag(c, std.environ)
	o.flag(c)
	return c
}

func printLogInfo(w io.Writer, info *webhookgatewayv1.GetLogInfoResponse) error {
	at := func(t *timestamppb.Timestamp) string {
		if t == nil {
			return "-"
		}
		return t.AsTime().Local().Format(timeLayout)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"log", info.GetLogId()},
		{"events", fmt.Sprintf("%d, %s", info.GetEventCount(), bytesText(info.GetEventBytes()))},
		{"earliest", at(info.GetEarliestTime())},
		{"newest", at(info.GetHeadTime())},
		{"earliest cursor", info.GetEarliestCursor()},
		{"head cursor", info.GetHeadCursor()},
	} {
		_, _ = fmt.Fprintf(table, "%s\t%s\n", row[0], row[1]) // Flush returns its error
	}
	return table.Flush()
}

// bytesText is a number of bytes as people read it.
func bytesText[N int64 | uint64](n N) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d bytes", n)
	}
	value, name := float64(n)/unit, "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if value < unit {
			break
		}
		value, name = value/unit, next
	}
	return fmt.Sprintf("%.1f %s", value, name)
}
