// Command worker is one of several workers that share a durable subscription. It
// acknowledges what it has handled, gives back what failed, and holds no state.
// Start as many as you like:
//
//	webhook-gateway subscriptions create billing --from earliest
//	go run ./examples/worker -subscription billing
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

func main() {
	addr := flag.String("addr", "localhost:9090", "address of the gateway")
	subscription := flag.String("subscription", "billing", "name of the subscription")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	conn, err := grpc.NewClient(*addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	w := &worker{client: webhookgatewayv1.NewEventServiceClient(conn), subscription: *subscription, handle: handle}
	if err := w.run(ctx); err != nil {
		log.Print(err)
	}
}

// errBad marks an event that another attempt would not help.
var errBad = errors.New("the event makes no sense")

// handle does the work. It may meet an event twice: an event whose
// acknowledgement was lost is delivered again, with the same id.
func handle(_ context.Context, event *webhookgatewayv1.Event) error {
	if event.GetDecodeError() != "" {
		return fmt.Errorf("%w: %s", errBad, event.GetDecodeError())
	}
	_, err := fmt.Printf("attempt %d of %s %s\n", event.GetAttempt(), event.GetTypeName(), event.GetId()) //nolint:forbidigo // the work of this example
	return err
}

type worker struct {
	client       webhookgatewayv1.EventServiceClient
	subscription string
	handle       func(context.Context, *webhookgatewayv1.Event) error
}

// run works until ctx is done, reconnecting when the stream ends.
func (w *worker) run(ctx context.Context) error {
	for {
		err := w.stream(ctx)
		switch status.Code(err) {
		case codes.InvalidArgument, codes.NotFound, codes.PermissionDenied:
			return err // trying again would not help
		default:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func (w *worker) stream(ctx context.Context) error {
	stream, err := w.client.Subscribe(ctx, &webhookgatewayv1.SubscribeRequest{Subscription: w.subscription})
	if err != nil {
		return err
	}
	for {
		frame, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := w.batch(ctx, frame.GetEvents().GetEvents()); err != nil {
			return err
		}
	}
}

// batch handles events, and settles all of them by at most three calls.
func (w *worker) batch(ctx context.Context, events []*webhookgatewayv1.Event) error {
	var handled, failed, bad []string
	for _, event := range events {
		switch err := w.handle(ctx, event); {
		case err == nil:
			handled = append(handled, event.GetAckToken())
		case errors.Is(err, errBad):
			bad = append(bad, event.GetAckToken())
		default:
			failed = append(failed, event.GetAckToken())
		}
	}
	if len(handled) > 0 {
		// A result that is not OK says that the event comes again: nothing to do.
		if _, err := w.client.Acknowledge(ctx, &webhookgatewayv1.AcknowledgeRequest{AckTokens: handled}); err != nil {
			return err
		}
	}
	if err := w.reject(ctx, failed, webhookgatewayv1.RejectAction_REJECT_ACTION_RETRY, "the handler failed"); err != nil {
		return err
	}
	return w.reject(ctx, bad, webhookgatewayv1.RejectAction_REJECT_ACTION_PARK, "the handler cannot make sense of it")
}

func (w *worker) reject(ctx context.Context, tokens []string, action webhookgatewayv1.RejectAction, reason string) error {
	if len(tokens) == 0 {
		return nil
	}
	_, err := w.client.Reject(ctx, &webhookgatewayv1.RejectRequest{AckTokens: tokens, Action: action, Reason: reason})
	return err
}
