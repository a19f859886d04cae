package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// Beginnings of names that people need not write.
const (
	reasonPrefix   = "ERROR_REASON_"
	providerPrefix = "PROVIDER_"
)

type refusalOptions struct {
	outputOptions

	providers, clients, reasons []string
	limit                       int
}

func newRefusals(std streams) *cobra.Command {
	r, o := &remote{}, refusalOptions{}
	c := &cobra.Command{
		Use: "refusals", Short: "List the deliveries that were refused", Args: cobra.NoArgs,
		Long: `refusals lists which deliveries the gateway refused, and why, the newest first: the
first thing to look at when a provider does not arrive. Those that differ only in their
time, size and trace are one line. What was in their bodies is not kept. It is for
operators.`,
		Example: `  webhook-gateway refusals
  webhook-gateway refusals --reason signature_mismatch --client acme -o json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := o.asJSON()
			if err != nil {
				return err
			}
			req, err := o.request()
			if err != nil {
				return err
			}
			return r.operator(cmd.Context(), func(ctx context.Context, client webhookgatewayv1.OperatorServiceClient) error {
				return o.list(ctx, client, req, std, asJSON)
			})
		},
	}
	r.flag(c, std.environ)
	f := c.Flags()
	f.StringSliceVarP(&o.providers, "provider", "p", nil, "only deliveries to this `provider`, or `unspecified` for those to none that is known (repeat for more)")
	f.StringSliceVarP(&o.clients, "client", "c", nil, "only deliveries for this client `id` (repeat for more)")
	f.StringSliceVar(&o.reasons, "reason", nil, "only those refused for this `reason`, such as signature_mismatch (repeat for more)")
	f.IntVarP(&o.limit, "limit", "n", 20, "list at most this `number` of lines, 0 for all")
	o.flag(c)
	_ = c.RegisterFlagCompletionFunc("provider", completeNames(shortNames(webhookgatewayv1.Provider_value, providerPrefix)...)) // the flag exists
	_ = c.RegisterFlagCompletionFunc("reason", completeNames(shortNames(webhookgatewayv1.ErrorReason_value, reasonPrefix)...))  // the flag exists
	return c
}

// shortNames returns the values of an enum as people write them.
func shortNames(values map[string]int32, prefix string) []string {
	var names []string
	for name := range maps.Keys(values) {
		names = append(names, strings.ToLower(strings.TrimPrefix(name, prefix)))
	}
	slices.Sort(names)
	return names
}

// enumNamed returns the value of an enum that has a name.
func enumNamed(what string, values map[string]int32, prefix, name string) (int32, error) {
	value, ok := values[prefix+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))]
	if !ok {
		return 0, usageError{fmt.Errorf("%q is no %s: choose %s", name, what, strings.Join(shortNames(values, prefix), ", "))}
	}
	return value, nil
}

func (o refusalOptions) request() (*webhookgatewayv1.ListRefusalsRequest, error) {
	if o.limit < 0 {
		return nil, usageError{fmt.Errorf("--limit must be 1 or more, or 0 for all; not %d", o.limit)}
	}
	req := &webhookgatewayv1.ListRefusalsRequest{ClientIds: o.clients}
	for _, name := range o.providers {
		value, err := enumNamed("provider", webhookgatewayv1.Provider_value, providerPrefix, name)
		if err != nil {
			return nil, err
		}
		req.Providers = append(req.Providers, webhookgatewayv1.Provider(value))
	}
	for _, name := range o.reasons {
		value, err := enumNamed("reason", webhookgatewayv1.ErrorReason_value, reasonPrefix, name)
		if err != nil {
			return nil, err
		}
		req.Reasons = append(req.Reasons, webhookgatewayv1.ErrorReason(value))
	}
	return req, nil
}

func (o refusalOptions) list(
	ctx context.Context, client webhookgatewayv1.OperatorServiceClient, req *webhookgatewayv1.ListRefusalsRequest, std streams, asJSON bool,
) error {
	var all []*webhookgatewayv1.Refusal
	for {
		req.PageSize = maxPage
		if o.limit > 0 {
			req.PageSize = int32(min(o.limit-len(all), maxPage)) //nolint:gosec // at most maxPage
		}
		page, err := client.ListRefusals(ctx, req)
		if err != nil {
			return err
		}
		all = append(all, page.GetRefusals()...)
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" || o.limit > 0 && len(all) >= o.limit {
			break
		}
	}
	if err := printRefusals(std.out, all, asJSON); err != nil {
		return err
	}
	if req.GetPageToken() != "" {
		note(std.err, "there are more: --limit 0 lists all")
	}
	return nil
}

// printRefusals prints a table of refusals, or one JSON object each.
func printRefusals(w io.Writer, list []*webhookgatewayv1.Refusal, asJSON bool) error {
	if asJSON {
		return printMessages(w, list)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "LAST\tCOUNT\tSTATUS\tREASON\tPROVIDER\tCLIENT\tSOURCE\tMESSAGE") // Flush returns its error
	for _, one := range list {
		provider := ""
		if one.GetProvider() != webhookgatewayv1.Provider_PROVIDER_UNSPECIFIED {
			provider = strings.ToLower(strings.TrimPrefix(one.GetProvider().String(), providerPrefix))
		}
		_, _ = fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n",
			one.GetLastTime().AsTime().UTC().Format(time.RFC3339), one.GetCount(), one.GetHttpStatus(),
			strings.TrimPrefix(one.GetReason().String(), reasonPrefix), provider, clean(one.GetClientId()), one.GetSourceAddress(), clean(one.GetMessage()))
	}
	return table.Flush()
}
