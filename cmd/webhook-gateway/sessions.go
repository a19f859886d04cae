package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// sessionStates are the states of sessions as the command line has them.
var sessionStates = []string{"open", "done", "failed", "stalled"}

type sessionOptions struct {
	outputOptions

	states, clients, subjects []string
	stalled                   bool
	limit                     int
}

func newSessions(std streams) *cobra.Command {
	r, o := &remote{}, sessionOptions{}
	c := &cobra.Command{
		Use: "sessions", Short: "List the sessions of Finicity customers in Connect", Args: cobra.NoArgs,
		Long: `sessions lists what customers did in Finicity Connect, the session that began last
first, and which events are missing of a whole one. Finicity names no session: the
gateway finds them in the events of a customer, of the last day by default.`,
		Example: `  webhook-gateway sessions --stalled
  webhook-gateway sessions --state open --client acme -o json`,
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
	f.StringSliceVar(&o.states, "state", nil, "only sessions in this `state`: open, done, failed or stalled, which is neither (repeat for more)")
	f.BoolVar(&o.stalled, "stalled", false, "the same as --state stalled")
	f.StringSliceVarP(&o.clients, "client", "c", nil, "only sessions of this client `id` (repeat for more)")
	f.StringSliceVar(&o.subjects, "subject", nil, "only sessions of this `customer` (repeat for more)")
	f.IntVarP(&o.limit, "limit", "n", 20, "list at most this `number` of sessions, 0 for all")
	o.flag(c)
	c.MarkFlagsMutuallyExclusive("state", "stalled")
	_ = c.RegisterFlagCompletionFunc("state", completeNames(sessionStates...)) // the flag exists
	return c
}

// operator makes a call on what the gateway does.
func (r *remote) operator(ctx context.Context, call func(context.Context, webhookgatewayv1.OperatorServiceClient) error) error {
	return r.on(func(conn grpc.ClientConnInterface) error {
		return call(ctx, webhookgatewayv1.NewOperatorServiceClient(conn))
	})
}

func (o sessionOptions) request() (*webhookgatewayv1.ListSessionsRequest, error) {
	if o.limit < 0 {
		return nil, usageError{fmt.Errorf("--limit must be 1 or more, or 0 for all; not %d", o.limit)}
	}
	req := &webhookgatewayv1.ListSessionsRequest{ClientIds: o.clients, Subjects: o.subjects}
	if o.stalled {
		o.states = []string{"stalled"}
	}
	for _, name := range o.states {
		if !slices.Contains(sessionStates, name) {
			return nil, usageError{fmt.Errorf("%q is no state: choose %s", name, strings.Join(sessionStates, ", "))}
		}
		req.States = append(req.States, webhookgatewayv1.SessionState(webhookgatewayv1.SessionState_value["SESSION_STATE_"+strings.ToUpper(name)]))
	}
	return req, nil
}

func (o sessionOptions) list(
	ctx context.Context, client webhookgatewayv1.OperatorServiceClient, req *webhookgatewayv1.ListSessionsRequest, std streams, asJSON bool,
) error {
	var all []*webhookgatewayv1.ConnectSession
	for {
		req.PageSize = maxPage
		if o.limit > 0 {
			req.PageSize = int32(min(o.limit-len(all), maxPage)) //nolint:gosec // at most maxPage
		}
		page, err := client.ListSessions(ctx, req)
		if err != nil {
			return err
		}
		all = append(all, page.GetSessions()...)
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() != "" && (o.limit == 0 || len(all) < o.limit) {
			continue
		}
		if err := printSessions(std.out, all, asJSON); err != nil {
			return err
		}
		note(std.err, "all sessions are known that began at %s or later", page.GetCompleteSince().AsTime().UTC().Format(time.RFC3339))
		if req.GetPageToken() != "" {
			note(std.err, "there may be more: --limit 0 lists all")
		}
		return nil
	}
}

// printSessions prints a table of sessions, or one JSON object each.
func printSessions(w io.Writer, list []*webhookgatewayv1.ConnectSession, asJSON bool) error {
	if asJSON {
		return printMessages(w, list)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "STATE\tCLIENT\tCUSTOMER\tSTART\tLAST\tEVENTS\tNEWEST\tMISSING\tID") // Flush returns its error
	for _, s := range list {
		newest := ""
		if events := s.GetEvents(); int64(len(events)) == s.GetEventCount() && len(events) > 0 {
			newest = finicityName(events[len(events)-1].GetType())
		}
		var missing []string
		for _, t := range s.GetMissingEventTypes() {
			missing = append(missing, finicityName(t))
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n",
			strings.ToLower(strings.TrimPrefix(s.GetState().String(), "SESSION_STATE_")), clean(s.GetClientId()), clean(s.GetSubject()),
			s.GetStartTime().AsTime().UTC().Format(time.RFC3339), s.GetLastTime().AsTime().UTC().Format(time.RFC3339),
			s.GetEventCount(), newest, strings.Join(missing, ","), s.GetId())
	}
	return table.Flush()
}

// finicityName returns what Finicity calls a type.
func finicityName(t webhookgatewayv1.EventType) string {
	words := strings.Split(strings.ToLower(strings.TrimPrefix(t.String(), "EVENT_TYPE_FINICITY_")), "_")
	for i, word := range words[1:] {
		words[i+1] = strings.ToUpper(word[:1]) + word[1:]
	}
	return strings.Join(words, "")
}
