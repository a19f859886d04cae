package servertest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// A test of a program that reads events: it starts a gateway, lets a provider
// deliver, and looks at what the program made of it.
func Example() {
	// In a test of yours t is its *testing.T.
	t := &exampleT{}
	defer t.end()

	gateway := servertest.Start(t)
	gateway.Deliver(t,
		webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_ADDED,
		webhookgatewayv1.EventType_EVENT_TYPE_VEZGO_SYNC_ACCOUNT)

	stream, err := webhookgatewayv1.NewEventServiceClient(gateway.Conn()).Subscribe(t.Context(), &webhookgatewayv1.SubscribeRequest{
		Start: &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST},
		Stop:  &webhookgatewayv1.SubscribeRequest_StopAtHead{StopAtHead: true},
	})
	if err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	for {
		frame, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("receive: %v", err)
		}
		for _, event := range frame.GetEvents().GetEvents() {
			fmt.Println(event.GetTypeName(), "of", event.GetClientId(), "was", event.GetVerification().GetVerdict())
		}
	}
	// Output:
	// added of acme was VERIFICATION_VERDICT_VERIFIED
	// SyncAccount of acme was VERIFICATION_VERDICT_VERIFIED
}

// A reader that is told goodbye, or that loses its connection, goes on at its cursor.
func ExampleGateway_Cut() {
	t := &exampleT{} // in a test of yours, its *testing.T
	defer t.end()

	gateway := servertest.Start(t, servertest.InMemory)
	client := webhookgatewayv1.NewEventServiceClient(gateway.Conn())
	req := &webhookgatewayv1.SubscribeRequest{Start: &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST}}
	for _, fault := range []func(){gateway.Cut, func() { gateway.Restart(t) }} {
		gateway.Trigger(t, "finicity.added")
		stream, err := client.Subscribe(t.Context(), req, grpc.WaitForReady(true))
		for err == nil {
			var frame *webhookgatewayv1.SubscribeResponse
			if frame, err = stream.Recv(); err != nil {
				break
			}
			for _, event := range frame.GetEvents().GetEvents() {
				fmt.Println(event.GetTypeName())
				req.Start = &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: event.GetCursor()}
			}
			if frame.GetGoodbye() != nil {
				fmt.Println("goodbye")
			}
			if frame.GetCaughtUp() != nil {
				fault()
			}
		}
		fmt.Println(status.Code(err))
	}
	// Output:
	// added
	// Unavailable
	// added
	// goodbye
	// Unavailable
}

// A reader whose cursor has expired asked for what is left: it is told of the gap.
func ExampleGateway_Expire() {
	t := &exampleT{} // in a test of yours, its *testing.T
	defer t.end()

	gateway := servertest.Start(t, servertest.InMemory)
	started := gateway.Trigger(t, "started")
	gateway.Trigger(t, "added")
	gateway.Trigger(t, "done")
	gateway.Expire(t, 1)

	stream, err := webhookgatewayv1.NewEventServiceClient(gateway.Conn()).Subscribe(t.Context(), &webhookgatewayv1.SubscribeRequest{
		Start:     &webhookgatewayv1.SubscribeRequest_StartCursor{StartCursor: started.GetCursor()},
		Stop:      &webhookgatewayv1.SubscribeRequest_StopAtHead{StopAtHead: true},
		OnExpired: webhookgatewayv1.ExpiredPolicy_EXPIRED_POLICY_EARLIEST,
	})
	for err == nil {
		var frame *webhookgatewayv1.SubscribeResponse
		if frame, err = stream.Recv(); err != nil {
			break
		}
		if gap := frame.GetGap(); gap != nil {
			fmt.Println("a gap:", gap.GetReason())
		}
		for _, event := range frame.GetEvents().GetEvents() {
			fmt.Println(event.GetTypeName())
		}
	}
	fmt.Println(err)
	// Output:
	// a gap: GAP_REASON_RETENTION
	// done
	// EOF
}

// exampleT is as much of a *testing.T as an example needs, which is given none.
type exampleT struct {
	testing.TB

	cleanups []func()
}

func (t *exampleT) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}

func (t *exampleT) Cleanup(f func())                  { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Context() context.Context          { return context.Background() }
func (t *exampleT) Errorf(format string, args ...any) { fmt.Fprintf(os.Stdout, format+"\n", args...) }
func (t *exampleT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (t *exampleT) Helper()                           {}
func (t *exampleT) Output() io.Writer                 { return os.Stderr }

func (t *exampleT) TempDir() string {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		t.Fatalf("make a directory: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
