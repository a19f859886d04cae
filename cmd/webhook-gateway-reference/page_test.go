package main

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// A page says all that the file says, or there is none.
func TestPage(t *testing.T) {
	t.Parallel()
	const text = "the page"
	comment := func(path ...int32) *descriptorpb.SourceCodeInfo_Location {
		return &descriptorpb.SourceCodeInfo_Location{Path: path, Span: []int32{0, 0, 0}, LeadingComments: proto.String(" " + text + "\n   laid out\n")}
	}
	calls := map[protoreflect.FullName][]string{"p.S.Call": {"GET /call"}}
	comments := []*descriptorpb.SourceCodeInfo_Location{comment(12), comment(4, 0), comment(4, 0, 2, 0), comment(6, 0), comment(6, 0, 2, 0)}
	for name, test := range map[string]struct {
		calls    map[protoreflect.FullName][]string
		comments []*descriptorpb.SourceCodeInfo_Location
		err      string
	}{
		"whole":               {calls, comments, ""},
		"an unknown call":     {nil, comments, "no OpenAPI document has p.S.Call"},
		"nothing of the file": {calls, comments[1:], "there is no comment on the file"},
		"nothing of a call":   {calls, comments[:4], "there is no comment on p.S.Call"},
		"nothing of a field":  {calls, append(comments[:2:2], comments[3:]...), "there is no comment on p.M.f"},
	} {
		file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
			Name: proto.String("webhookgateway/p/v1/s_t.proto"), Package: proto.String("p"), Syntax: proto.String("proto3"),
			MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("M"), Field: []*descriptorpb.FieldDescriptorProto{{
				Name: proto.String("f"), Number: proto.Int32(1), Label: descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum(),
				Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
			}}}},
			Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("S"), Method: []*descriptorpb.MethodDescriptorProto{
				{Name: proto.String("Call"), InputType: proto.String(".p.M"), OutputType: proto.String(".p.M"), ServerStreaming: proto.Bool(true)},
			}}},
			SourceCodeInfo: &descriptorpb.SourceCodeInfo{Location: test.comments},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := &page{calls: test.calls}
		p.file(file)
		switch {
		case test.err != "":
			if p.err == nil || p.err.Error() != test.err {
				t.Errorf("%s: %v, want %s", name, p.err, test.err)
			}
		case p.err != nil:
			t.Errorf("%s: %v", name, p.err)
		default:
			for _, want := range []string{
				"# S\n\nFor ", "### Call\n\n[M](#m) → a stream of [M](#m). Over HTTP `GET /call`.\n\nthe page\n    laid out\n",
				"## M\n\nthe page\n", "- `f` (repeated `string`): the page\n",
			} {
				if !strings.Contains(p.String(), want) {
					t.Errorf("%s: there is no %q in\n%s", name, want, p)
				}
			}
		}
	}
}

func TestReasonOfAnError(t *testing.T) {
	t.Parallel()
	const retry = ", with a `RetryInfo` or `Retry-After`"
	for comment, want := range map[string]string{
		"UNAVAILABLE: why":           "`UNAVAILABLE`, HTTP 503" + retry + "|why|",
		"UNAVAILABLE, HTTP 503: why": "`UNAVAILABLE`, HTTP 503" + retry + "; a delivery is answered 503|why|",
		"HTTP 503: why":              "HTTP 503, with `Retry-After`|why|",
		"why":                        "||does not begin with a status and a colon",
		"NOT_FOUND: why":             `||begins with "NOT_FOUND", but its status is UNAVAILABLE`,
	} {
		status, text, err := splitReason(comment, webhookgatewayv1.ErrorReason_ERROR_REASON_DRAINING)
		got := status + "|" + text + "|"
		if err != nil {
			got += err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", comment, got, want)
		}
	}
}

func TestPageName(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"webhookgateway/v1/event_service.proto": "event-service.md",
		"finicity/connect/v1/connect.proto":     "finicity-connect.md",
		"vezgo/v1/sync.proto":                   "vezgo-sync.md",
	} {
		if got := pageName(file); got != want {
			t.Errorf("%s: %s, want %s", file, got, want)
		}
	}
}
