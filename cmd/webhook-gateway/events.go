package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

func newEvents(std streams) *cobra.Command {
	r := &remote{}
	c := &cobra.Command{
		Use:   "events",
		Short: "List stored events, show one, send one to a URL again",
		Example: `  webhook-gateway events list
  webhook-gateway events list --type SyncError --from yesterday -o json
  webhook-gateway events get eFEJkM9V41P6cOhkUMAMAAAAAAAAAAE40hhW
  webhook-gateway events resend eFEJkM9V41P6cOhkUMAMAAAAAAAAAAE40hhW --to http://localhost:3000/webhooks`,
	}
	r.flag(c, std.environ)
	c.AddCommand(newEventsList(std, r), newEventsGet(std, r), newEventsResend(std, r))
	return c
}

func newEventsGet(std streams, r *remote) *cobra.Command {
	raw, states := false, false
	c := &cobra.Command{
		Use: "get ID", Short: "Show an event as JSON", Args: cobra.ExactArgs(1),
		Long: `get prints one event as JSON, whatever the verdict of its verification. Its id is
what "events list" prints first, and the "id" of -o json.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if states {
				return r.operator(cmd.Context(), func(ctx context.Context, client webhookgatewayv1.OperatorServiceClient) error {
					resp, err := client.ListEventStates(ctx, &webhookgatewayv1.ListEventStatesRequest{Id: args[0]})
					if err != nil {
						return err
					}
					return printMessage(std.out, resp)
				})
			}
			view := webhookgatewayv1.EventView_EVENT_VIEW_FULL
			if raw {
				view = webhookgatewayv1.EventView_EVENT_VIEW_RAW
			}
			event, err := r.event(cmd.Context(), args[0], view)
			if err != nil {
				return err
			}
			return printMessage(std.out, event)
		},
	}
	c.Flags().BoolVar(&states, "states", false, "print where each subscription stands with the event, not the event")
	c.Flags().BoolVar(&raw, "raw", false, "with the body as the provider sent it (rawBody, in base64) and the stored headers")
	c.MarkFlagsMutuallyExclusive("raw", "states")
	return c
}

func newEventsResend(std streams, r *remote) *cobra.Command {
	to := ""
	c := &cobra.Command{
		Use: "resend ID", Short: "Send an event to a URL, as its provider sent it", Args: cobra.ExactArgs(1),
		Long: `resend sends a stored event to a URL, as its provider sent it: the same body, with
the headers that the gateway stored, the signature among them. The gateway itself
does not notice. It prints the answer, and ends with 1 unless that is 2xx.`,
		Example: `  webhook-gateway events resend eFEJkM9V41P6cOhkUMAMAAAAAAAAAAE40hhW --to http://localhost:3000/webhooks`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return usageError{errors.New("where should it be sent? Give --to, such as --to http://localhost:3000/webhooks")}
			}
			f, err := newForwarder("--to", to, std)
			if err != nil {
				return err
			}
			defer f.close()
			event, err := r.event(cmd.Context(), args[0], webhookgatewayv1.EventView_EVENT_VIEW_RAW)
			if err != nil {
				return err
			}
			if err := f.forward(cmd.Context(), event); err != nil {
				return err
			}
			if f.refused > 0 {
				return errors.New("the event was not answered 2xx")
			}
			return nil
		},
	}
	c.Flags().StringVar(&to, "to", "", "the `URL` to send it to")
	return c
}

// event returns one event.
func (r *remote) event(ctx context.Context, id string, view webhookgatewayv1.EventView) (event *webhookgatewayv1.Event, err error) {
	err = r.events(ctx, func(ctx context.Context, client webhookgatewayv1.EventServiceClient) error {
		resp, err := client.GetEvent(ctx, &webhookgatewayv1.GetEventRequest{Id: id, View: view})
		event = resp.GetEvent()
		return err
	})
	return event, err
}
