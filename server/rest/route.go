package rest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// A route is one way to make a call over HTTP.
type route struct {
	// request is the type of the request.
	request protoreflect.MessageType
	// body is the field that the body is, `*` for the whole request, or empty.
	body string
	// bound are the fields that the path has, such as `subscription.name`.
	bound []string
	// whole is how to make the same call with a body that is the whole request, such as
	// `POST /v1/events:list`, if there is such a way.
	whole string
}

// readRoutes returns the routes by method and path, as the OpenAPI document has
// them: it is generated from the same mapping as the handlers.
func readRoutes() (map[string]*route, error) {
	var document struct {
		Paths map[string]map[string]struct {
			OperationID string
			Parameters  []struct{ Name, In string }
		}
	}
	if err := json.Unmarshal(openAPI, &document); err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	routes := make(map[string]*route)
	whole := make(map[protoreflect.FullName]string)
	for path, methods := range document.Paths {
		for method, operation := range methods {
			r, key := &route{}, strings.ToUpper(method)+" "+path
			for _, parameter := range operation.Parameters {
				switch {
				case parameter.In == "path":
					r.bound = append(r.bound, parameter.Name)
				case parameter.In == "body" && parameter.Name == "body":
					r.body = "*"
				case parameter.In == "body":
					r.body = parameter.Name
				}
			}
			var err error
			if r.request, err = requestOf(operation.OperationID); err != nil {
				return nil, err
			}
			if r.body == "*" {
				whole[r.request.Descriptor().FullName()] = key
			}
			routes[key] = r
		}
	}
	for _, r := range routes {
		r.whole = whole[r.request.Descriptor().FullName()]
	}
	return routes, nil
}

// requestOf returns the type of the request of an operation, whose name is that of
// the service and the call, and a number if the call has several routes.
func requestOf(operation string) (protoreflect.MessageType, error) {
	service, call, _ := strings.Cut(operation, "_")
	pkg := webhookgatewayv1.File_webhookgateway_v1_event_service_proto.Package()
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(pkg.Append(protoreflect.Name(service)))
	if err != nil {
		return nil, fmt.Errorf("find the service of the operation %s: %w", operation, err)
	}
	if s, ok := found.(protoreflect.ServiceDescriptor); ok {
		if m := s.Methods().ByName(protoreflect.Name(strings.TrimRight(call, "0123456789"))); m != nil {
			return protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
		}
	}
	return nil, fmt.Errorf("the operation %s is no call", operation)
}

// queryFields returns the fields that the query may have.
func (r *route) queryFields() []protoreflect.FieldDescriptor {
	if r.body == "*" {
		return nil
	}
	var list []protoreflect.FieldDescriptor
	fields := r.request.Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); fitsQuery(f) && string(f.Name()) != r.body && !slices.Contains(r.bound, string(f.Name())) {
			list = append(list, f)
		}
	}
	return list
}

// fitsQuery reports whether a field can be given as text.
func fitsQuery(f protoreflect.FieldDescriptor) bool {
	return !f.IsMap() && (f.Message() == nil || !f.IsList() && isText(f.Message()))
}
