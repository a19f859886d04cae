package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
)

// completionTimeout bounds how long a completion waits for the gateway.
const completionTimeout = time.Second

// completeNames completes an argument or a flag from a list.
func completeNames(names ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp)
}

// completeSentTypes completes the types that trigger sends.
func completeSentTypes(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, t := range all.EventTypes() {
		names = append(names, t.Sample.TypeName, t.Name())
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeTypes completes the types that filters take.
func completeTypes(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names, directive := completeSentTypes(nil, nil, "")
	return append(names, all.Unrecognized), directive
}

func completeProviders(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, sender := range all.Senders() {
		names = append(names, sender.Name())
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeSubscriptions completes the name of a subscription of the gateway.
func completeSubscriptions(r *remote) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(completionContext(c), completionTimeout)
		defer cancel()
		var names []string
		_ = r.call(ctx, func(ctx context.Context, client webhookgatewayv1.SubscriptionServiceClient) error {
			list, err := listSubscriptions(ctx, client) // without a gateway there is nothing to offer
			for _, s := range list {
				if strings.HasPrefix(s.GetName(), begun) {
					names = append(names, s.GetName())
				}
			}
			return err
		})
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// firstArg completes the first argument, and no other.
func firstArg(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(c, args, begun)
	}
}

func completionContext(c *cobra.Command) context.Context {
	if ctx := c.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}
