package rest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// checkRequests returns a middleware that refuses what the gateway mux would pass
// over or explain badly: unknown keys of the query, values of a wrong type, and a
// body that contradicts the path.
func checkRequests(routes map[string]*route) runtime.Middleware {
	return func(next runtime.HandlerFunc) runtime.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request, bound map[string]string) {
			pattern, _ := runtime.HTTPPattern(r.Context())
			route := routes[r.Method+" "+strings.ReplaceAll(pattern.String(), "=*}", "}")]
			if err := route.check(r, bound); err != nil {
				writeError(w, httpStatus(err), err)
				return
			}
			if route.body != "" { // it was read: a stream may last
				_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // a connection that ended has none
			}
			next(w, r, bound)
		}
	}
}

func (r *route) check(req *http.Request, bound map[string]string) error {
	for name, value := range bound {
		if !utf8.ValidString(value) {
			err := fielderr.New(name, notUTF8)
			return rpcerr.From(err, err)
		}
	}
	if err := r.checkQuery(req.URL.RawQuery); err != nil {
		return rpcerr.From(err, err)
	}
	if r.body == "" {
		return nil
	}
	body, err := io.ReadAll(req.Body)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return errTooLarge
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_INCOMPLETE,
			fmt.Sprintf("the body did not arrive within %v: send it faster", bodyTimeout))
	}
	if err != nil {
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_INCOMPLETE, "the body ended too early")
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	if len(body) == 0 {
		return nil
	}
	err = r.checkBody(body, bound)
	return rpcerr.From(err, err)
}

const notUTF8 = "is not UTF-8"

func (r *route) checkQuery(text string) error {
	query, err := url.ParseQuery(text)
	if err != nil {
		return fielderr.New("", "the query cannot be read: write key=value&key=value, other characters as %%XX")
	}
	request := r.request.New()
	for _, key := range slices.Sorted(maps.Keys(query)) {
		field := fieldNamed(r.request.Descriptor(), key)
		known := r.queryFields()
		if field == nil {
			return fielderr.New(fielderr.Key(clip(key)), "there is no such key of the query: %s", r.hint(known))
		}
		name := string(field.Name())
		switch {
		case slices.Contains(r.bound, name):
			return fielderr.New(name, "is a part of the path, and is not given in the query")
		case !slices.Contains(known, field):
			return fielderr.New(name, "cannot be given in the query: %s", r.hint(known))
		case request.Has(field):
			return fielderr.New(name, "is given twice")
		}
		if oneof := field.ContainingOneof(); oneof != nil && request.WhichOneof(oneof) != nil {
			return fielderr.New(name, "cannot be given beside %s: give one of them", request.WhichOneof(oneof).JSONName())
		}
		if !utf8.ValidString(strings.Join(query[key], "")) {
			return fielderr.New(name, notUTF8)
		}
		err := runtime.PopulateQueryParameters(request.Interface(), url.Values{key: query[key]}, utilities.NewDoubleArray(nil))
		if err != nil {
			return fielderr.New(name, "must be %s, given once", wanted(field))
		}
	}
	return nil
}

// hint says where to give what was not found.
func (r *route) hint(known []protoreflect.FieldDescriptor) string {
	var names []string
	for _, f := range known {
		names = append(names, f.JSONName())
	}
	var parts []string
	if len(names) > 0 {
		parts = append(parts, "known here are "+strings.Join(names, ", "))
	}
	switch {
	case r.body == "*":
		parts = append(parts, "everything is given in the body, as JSON")
	case r.body != "":
		parts = append(parts, "the "+r.body+" is given in the body, as JSON")
	case r.whole != "":
		parts = append(parts, "everything else, such as filters, is given in the body of "+r.whole)
	case len(parts) == 0:
		parts = append(parts, "this call takes none")
	}
	return strings.Join(parts, "; ")
}

func (r *route) checkBody(body []byte, bound map[string]string) error {
	request := r.request.New()
	target := request
	if r.body != "*" {
		target = request.Mutable(request.Descriptor().Fields().ByTextName(r.body)).Message()
	}
	if protojson.Unmarshal(body, target.Interface()) != nil {
		return explain(body, target.Type())
	}
	for _, path := range r.bound {
		if given := textAt(request, strings.Split(path, ".")); given != "" && given != bound[path] {
			return fielderr.New(path, "the body says %q and the path %q: leave it out of the body, or give the same", clip(given), clip(bound[path]))
		}
	}
	return nil
}

// textAt returns the text of a field of a message, which may be within another.
func textAt(m protoreflect.Message, path []string) string {
	field := m.Descriptor().Fields().ByTextName(path[0])
	if len(path) == 1 {
		return m.Get(field).String()
	}
	return textAt(m.Get(field).Message(), path[1:])
}

// clip bounds what a caller's text adds to a message.
func clip(text string) string {
	const most = 64
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
