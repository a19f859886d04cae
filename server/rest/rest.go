// Package rest is the services over HTTP: every call as JSON, a stream as one JSON
// object per line, and the OpenAPI document that describes them.
//
// It is a client of the gRPC server, so both give the same answers.
package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/webhook-gateway/webhook-gateway/gen/openapi"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

const (
	contentTypeJSON   = "application/json"
	contentTypeNDJSON = "application/x-ndjson"

	// maxRequestBytes is above the JSON of the largest request that gRPC takes, which
	// has 4 MiB.
	maxRequestBytes = 16 << 20

	// bodyTimeout bounds the time in which a body arrives. Who sends none would hold a
	// connection for ever, and up a shutdown.
	bodyTimeout = 30 * time.Second
)

// New returns the handler of the REST API, which calls the services through a
// connection. The connection should take messages of any size. ctx ends nothing:
// the caller closes the connection.
//
// The server MUST NOT have a write timeout, which would cut streams.
func New(ctx context.Context, conn *grpc.ClientConn) (http.Handler, error) {
	routes, err := readRoutes()
	if err != nil {
		return nil, err
	}
	gateway := runtime.NewServeMux(
		runtime.WithMiddlewares(checkRequests(routes)),
		runtime.WithDisablePathLengthFallback(), // no form is taken, and no method but the request's
		runtime.WithMarshalerOption(runtime.MIMEWildcard, marshaler{}),
		runtime.WithErrorHandler(handleError),
		runtime.WithStreamErrorHandler(handleStreamError),
		runtime.WithRoutingErrorHandler(handleRoutingError),
		runtime.WithIncomingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithOutgoingHeaderMatcher(func(string) (string, bool) { return "", false }),
	)
	if err := webhookgatewayv1.RegisterEventServiceHandler(ctx, gateway, conn); err != nil {
		return nil, fmt.Errorf("register EventService: %w", err)
	}
	if err := webhookgatewayv1.RegisterSubscriptionServiceHandler(ctx, gateway, conn); err != nil {
		return nil, fmt.Errorf("register SubscriptionService: %w", err)
	}
	if err := webhookgatewayv1.RegisterOperatorServiceHandler(ctx, gateway, conn); err != nil {
		return nil, fmt.Errorf("register OperatorService: %w", err)
	}
	mux := http.NewServeMux()
	for path, document := range map[string][]byte{"/openapi.json": openapi.Internal, "/openapi-webhooks.json": openapi.Webhooks} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentTypeJSON)
			_, _ = w.Write(document) // the client may be gone
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if err := checkContentType(r); err != nil {
			writeError(w, http.StatusUnsupportedMediaType, err)
			return
		}
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // a connection that ended has none
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxRequestBytes)
		gateway.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), headerKey{}, w.Header())))
	})
	return mux, nil
}

// checkContentType refuses a body that does not say that it is JSON. A web page can
// have any other sent to another origin without asking, and the gateway mux would
// read a form as if it were the query.
func checkContentType(r *http.Request) error {
	given := r.Header.Get("Content-Type")
	if r.ContentLength == 0 { // there is nothing to read
		return nil
	}
	if mediaType, _, err := mime.ParseMediaType(given); err != nil || mediaType != contentTypeJSON {
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CONTENT_TYPE_UNSUPPORTED,
			"a request with a body needs the header Content-Type: application/json")
	}
	return nil
}

// Marshal returns the JSON of a message, without unset fields and white space. That
// of one build is that of another: protojson's alone is not.
func Marshal(m proto.Message) ([]byte, error) {
	text, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return nil, fmt.Errorf("compact the JSON of %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return compact.Bytes(), nil
}

// marshaler writes protobuf JSON without unset fields. In a stream it writes each
// frame as one line, as it is: the gateway mux would wrap it.
type marshaler struct{}

var (
	_ runtime.Marshaler         = marshaler{}
	_ runtime.StreamContentType = marshaler{}
)

// ContentType implements runtime.Marshaler.
func (marshaler) ContentType(any) string { return contentTypeJSON }

// StreamContentType implements runtime.StreamContentType.
func (marshaler) StreamContentType(any) string { return contentTypeNDJSON }

// Marshal implements runtime.Marshaler.
func (marshaler) Marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case proto.Message:
		return Marshal(v)
	case map[string]any: // a frame of a stream
		if m, ok := v["result"].(proto.Message); ok {
			return Marshal(m)
		}
	case map[string]proto.Message: // the error that ends a stream
		return marshalStreamError(v["error"])
	}
	return nil, fmt.Errorf("no JSON for %T", v)
}

// Unmarshal implements runtime.Marshaler. v is a message or, if the body is one
// field of the request, the address of that field.
func (marshaler) Unmarshal(data []byte, v any) error {
	m, ok := message(v)
	if !ok {
		return fmt.Errorf("no JSON for %T", v)
	}
	return protojson.Unmarshal(data, m)
}

// message returns the message that a body is decoded into: a request, or, where
// the body is one field of it, the message in that field, which v points to.
func message(v any) (proto.Message, bool) {
	if m, ok := v.(proto.Message); ok {
		return m, true
	}
	field := reflect.ValueOf(v)
	if field.Kind() != reflect.Pointer || field.Elem().Kind() != reflect.Pointer {
		return nil, false
	}
	made := reflect.New(field.Type().Elem().Elem())
	m, ok := made.Interface().(proto.Message)
	if ok {
		field.Elem().Set(made)
	}
	return m, ok
}

// NewDecoder implements runtime.Marshaler. A body is one JSON object; none is an
// empty request.
func (m marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		data, err := io.ReadAll(r)
		if err != nil {
			return fmt.Errorf("read the request: %w", err)
		}
		if len(data) == 0 {
			return io.EOF
		}
		return m.Unmarshal(data, v)
	})
}

// NewEncoder implements runtime.Marshaler.
func (m marshaler) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		data, err := m.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
}
