package main

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// A reason is an ErrorReason as the documents tell it.
type reason struct {
	name   string // without prefix
	text   string // the comment of the proto file, without the status that it begins with
	status int    // the HTTP status
	public bool   // sent on the public port
}

// httpStatus finds the status in the comment of a reason that the public port sends.
var httpStatus = regexp.MustCompile(`HTTP (\d{3})`)

// readReasons returns the reasons with the comments of the proto file.
func readReasons(request *pluginpb.CodeGeneratorRequest) (map[webhookgatewayv1.ErrorReason]reason, error) {
	files, err := protodesc.NewFiles(&descriptorpb.FileDescriptorSet{File: request.GetProtoFile()})
	if err != nil {
		return nil, fmt.Errorf("read the proto files: %w", err)
	}
	found, err := files.FindDescriptorByName(webhookgatewayv1.ErrorReason(0).Descriptor().FullName())
	if err != nil {
		return nil, fmt.Errorf("find the reasons of errors: %w", err)
	}
	enum, ok := found.(protoreflect.EnumDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s is no enum", found.FullName())
	}
	reasons := make(map[webhookgatewayv1.ErrorReason]reason)
	for i := range enum.Values().Len() {
		value := enum.Values().Get(i)
		id := webhookgatewayv1.ErrorReason(value.Number())
		if id == webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
			continue
		}
		comment := strings.Join(strings.Fields(enum.ParentFile().SourceLocations().ByDescriptor(value).LeadingComments), " ")
		status, text, ok := strings.Cut(comment, ": ")
		if !ok {
			return nil, fmt.Errorf("the comment of %s does not begin with a status and a colon", value.Name())
		}
		r := reason{name: rpcerr.Name(id), text: text, status: runtime.HTTPStatusFromCode(rpcerr.Code(id))}
		if match := httpStatus.FindStringSubmatch(status); match != nil {
			r.public = true
			if r.status, err = strconv.Atoi(match[1]); err != nil {
				return nil, err
			}
		}
		reasons[id] = r
	}
	return reasons, nil
}

const errorSchema = "Error"

// addErrorSchema adds the body of every answer that is no success.
func addErrorSchema(d document, reasons []reason) error {
	schemas, err := object(d, "components", "schemas")
	if err != nil {
		return err
	}
	names := make([]any, 0, len(reasons))
	for _, r := range reasons {
		names = append(names, r.name)
	}
	schemas[errorSchema] = document{
		"type": "object", "description": "Why a request was refused or failed.",
		"required": []any{"error"},
		"properties": document{"error": document{
			"type": "object", "required": []any{"reason", "message"},
			"properties": document{
				"reason": document{
					"type": "string", "examples": names,
					"description": "The stable reason: a webhookgateway.v1.ErrorReason without its prefix. Others may be added.",
				},
				"message": document{"type": "string", "description": "What was wrong and what to do, for people. It may change."},
				"metadata": document{
					"type": "object", "additionalProperties": document{"type": "string"},
					"description": "Details that the reason names, such as `field`.",
				},
			},
		}},
	}
	return nil
}

// addErrors adds an answer for each status that an operation can fail with.
func (o operation) addErrors(reasons []reason) error {
	responses, err := object(o.document, "responses")
	if err != nil {
		return err
	}
	byStatus := make(map[int][]reason)
	for _, r := range reasons {
		byStatus[r.status] = append(byStatus[r.status], r)
	}
	for _, status := range slices.Sorted(maps.Keys(byStatus)) {
		var text strings.Builder
		examples := document{}
		for _, r := range byStatus[status] {
			fmt.Fprintf(&text, "- `%s`: %s\n", r.name, r.text)
			examples[r.name] = document{"value": document{"error": document{"reason": r.name, "message": r.text}}}
		}
		response := document{
			"description": strings.TrimSpace(text.String()),
			"content": document{"application/json": document{
				"schema": reference(errorSchema), "examples": examples,
			}},
		}
		if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
			response["headers"] = document{"Retry-After": document{
				"description": "How many seconds to wait before trying again.", "schema": document{"type": "integer"},
			}}
		}
		responses[strconv.Itoa(status)] = response
	}
	return nil
}

func reference(schema string) document { return document{"$ref": "#/components/schemas/" + schema} }

// list returns reasons in the order of their numbers.
func list(reasons map[webhookgatewayv1.ErrorReason]reason, wanted ...webhookgatewayv1.ErrorReason) []reason {
	slices.Sort(wanted)
	var out []reason
	for _, id := range slices.Compact(wanted) {
		out = append(out, reasons[id])
	}
	return out
}
