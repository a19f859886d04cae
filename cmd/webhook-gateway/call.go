package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

const maxRequestBytes = 4 << 20

type callOptions struct {
	remote

	data    string
	timeout time.Duration
}

func newCall(std streams) *cobra.Command {
	var o callOptions
	c := &cobra.Command{
		Use:   "call SERVICE/METHOD",
		Short: "Call a method of the gRPC API with a request in JSON",
		Long: `call makes one call of the API over gRPC and prints what is answered, each message
one line of JSON. It needs no other tool, and no protos. The services are
EventService and SubscriptionService; the messages are those of
proto/webhookgateway/v1, their fields in either case (start_ago, startAgo).

A stream is printed until it ends, or --timeout has passed.`,
		Example: `  webhook-gateway call EventService/GetLogInfo
  webhook-gateway call EventService/ListEvents -d '{"newest_first": true, "page_size": 5}'
  webhook-gateway call EventService/Subscribe -d '{"start_ago": "3600s", "stop_at_head": true}'
  webhook-gateway call SubscriptionService/GetSubscription -d '{"name": "billing"}'`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: firstArg(func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return methodNames(), cobra.ShellCompDirectiveNoFileComp
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			method, err := findMethod(args[0])
			if err != nil {
				return err
			}
			request, err := o.request(method, std.in)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			if o.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, o.timeout)
				defer cancel()
			}
			return o.on(func(conn grpc.ClientConnInterface) error {
				err := call(ctx, conn, method, request, std.out)
				if method.IsStreamingServer() && o.ended(ctx, err) {
					return nil
				}
				return err
			})
		},
	}
	o.flag(c, std.environ)
	c.Flags().StringVarP(&o.data, "data", "d", "{}", "the request as `JSON`; - is standard input")
	durationVar(c.Flags(), &o.timeout, "timeout", "end the call after this time, such as 5s (default no limit)")
	return c
}

func (o callOptions) request(method protoreflect.MethodDescriptor, stdin io.Reader) (proto.Message, error) {
	text := []byte(o.data)
	if o.data == "-" {
		var err error
		if text, err = io.ReadAll(io.LimitReader(stdin, maxRequestBytes)); err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
	}
	request, err := newMessage(method.Input())
	if err != nil {
		return nil, err
	}
	if err := protojson.Unmarshal(text, request); err != nil {
		problem := strings.ReplaceAll(err.Error(), "\u00a0", " ") // protobuf-go varies the space on purpose
		return nil, usageError{fmt.Errorf("--data is no %s: %s", method.Input().Name(), strings.TrimPrefix(problem, "proto: "))}
	}
	return request, nil
}

// ended reports whether a call ended because the user wanted it to. The gateway
// knows the deadline too, and may be the first to tell.
func (o callOptions) ended(ctx context.Context, err error) bool {
	s, ok := grpcStatus(err)
	return ctx.Err() != nil || o.timeout > 0 && ok && s.Code() == codes.DeadlineExceeded
}

// call makes a call and prints every message of the answer.
func call(ctx context.Context, conn grpc.ClientConnInterface, method protoreflect.MethodDescriptor, request proto.Message, w io.Writer) error {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true},
		fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name()))
	if err != nil {
		return err
	}
	if err := stream.SendMsg(request); err != nil && !errors.Is(err, io.EOF) { // the cause comes with RecvMsg
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		response, err := newMessage(method.Output())
		if err != nil {
			return err
		}
		err = stream.RecvMsg(response)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := printMessage(w, response); err != nil {
			return err
		}
	}
}

func newMessage(of protoreflect.MessageDescriptor) (proto.Message, error) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(of.FullName())
	if err != nil {
		return nil, err
	}
	return t.New().Interface(), nil
}

// methods returns what can be called.
func methods() []protoreflect.MethodDescriptor {
	var list []protoreflect.MethodDescriptor
	for _, file := range []protoreflect.FileDescriptor{
		webhookgatewayv1.File_webhookgateway_v1_event_service_proto, webhookgatewayv1.File_webhookgateway_v1_subscription_service_proto,
	} {
		for i := range file.Services().Len() {
			of := file.Services().Get(i).Methods()
			for j := range of.Len() {
				list = append(list, of.Get(j))
			}
		}
	}
	return list
}

func methodNames() []string {
	var names []string
	for _, m := range methods() {
		names = append(names, string(m.Parent().Name())+"/"+string(m.Name()))
	}
	return names
}

// findMethod finds a method by its name, with or without the package.
func findMethod(name string) (protoreflect.MethodDescriptor, error) {
	for _, m := range methods() {
		short := string(m.Parent().Name()) + "/" + string(m.Name())
		if name == short || name == string(m.Parent().ParentFile().Package())+"."+short {
			return m, nil
		}
	}
	return nil, usageError{fmt.Errorf("%q is no method: choose from %s", name, strings.Join(methodNames(), ", "))}
}
