package rest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/webhook-gateway/webhook-gateway/gen/openapi"
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
			Call struct{ Method, Path, Body string } `json:"x-grpc"`
		}
	}
	if err := json.Unmarshal(openapi.Internal, &document); err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	routes := make(map[string]*route)
	whole := make(map[protoreflect.FullName]string)
	for _, methods := range document.Paths {
		for method, operation := range methods {
			if operation.Call.Method == "" { // of no service
				continue
			}
			request, err := requestOf(operation.Call.Method)
			if err != nil {
				return nil, err
			}
			r, key := &route{request: request, body: operation.Call.Body}, strings.ToUpper(method)+" "+operation.Call.Path
			for _, parameter := range pathParameter.FindAllStringSubmatch(operation.Call.Path, -1) {
				r.bound = append(r.bound, parameter[1])
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

// pathParameter finds the fields in a path such as `/v1/events/{id}`.
var pathParameter = regexp.MustCompile(`\{([^}]*)\}`)

// requestOf returns the type of the request of a method.
func requestOf(method string) (protoreflect.MessageType, error) {
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(method))
	if err != nil {
		return nil, fmt.Errorf("find the method %s: %w", method, err)
	}
	m, ok := found.(protoreflect.MethodDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s is no method", method)
	}
	return protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
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
