package webhook

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

const (
	// freeBodyBytes of every body do not count against the memory of all bodies.
	// Also the most that is allocated on the word of a Content-Length.
	freeBodyBytes = 64 << 10
	// firstBodyBytes are allocated for a body of unknown length.
	firstBodyBytes = 4 << 10
)

// delivery is what the gateway's mux does not carry from the HTTP request to the
// unary handler. It travels in the context, and as the body of the request that
// the mux sees, so that it is also what reads the body.
type delivery struct {
	header   http.Header
	rawQuery string
	source   netip.Addr

	body          io.ReadCloser
	contentLength int64
	limits        *bodyLimits
	charged       int64

	// What became of it, for the answer to a refusal, its log line and its count.
	provider *endpoint
	clientID string
	bodyErr  error
	cause    error
	// Outcome of a delivery that is answered 200: OutcomeStored or another.
	outcome string
}

// bodyLimits are shared by all deliveries.
type bodyLimits struct {
	maxBody     int64
	maxBuffered int64
	buffered    atomic.Int64
}

// Read and Close make the delivery the body of a request. Nobody calls them: the
// marshaler takes the body by Decode.
func (d *delivery) Read(p []byte) (int, error) { return d.body.Read(p) }

func (d *delivery) Close() error { return d.body.Close() }

// Decode reads the body, whose bytes are then in the *[]byte v. It is called
// after the mux has found the route, so that nothing is read for an unknown path
// or a wrong method. The generated code keeps no more than the text of the error:
// bodyErr is it.
func (d *delivery) Decode(v any) error {
	target, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("decode a body into %T: the HTTP mapping must name a bytes field", v)
	}
	if d.bodyErr = checkContent(d.header); d.bodyErr == nil {
		*target, d.bodyErr = d.readBody()
	}
	return d.bodyErr
}

// release gives back what the body took of the shared memory.
func (d *delivery) release() {
	if d.charged > 0 {
		d.limits.buffered.Add(-d.charged)
	}
}

// readBody returns the body byte for byte. A Content-Length is believed only as
// a limit: memory beyond freeBodyBytes is taken as the bytes arrive.
func (d *delivery) readBody() ([]byte, error) {
	maxBody, known := d.limits.maxBody, d.contentLength >= 0
	if d.contentLength > maxBody {
		return nil, tooLarge(maxBody)
	}
	size, ceiling := int64(firstBodyBytes), maxBody+1
	if known {
		size, ceiling = freeBodyBytes, d.contentLength
	}
	body := make([]byte, 0, min(size, ceiling))
	for int64(len(body)) < ceiling {
		if len(body) == cap(body) {
			var err error
			if body, err = d.grow(body, ceiling); err != nil {
				return nil, err
			}
		}
		n, err := d.body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case err == nil || int64(len(body)) == ceiling:
		case errors.Is(err, io.EOF) && !known:
			return body, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_TIMEOUT,
				"the body did not arrive in time: send it faster, or raise read_timeout")
		default:
			return nil, rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_INCOMPLETE,
				"the body ended before its announced length, or its chunks are malformed: send it again")
		}
	}
	if !known {
		return nil, tooLarge(maxBody)
	}
	return body, nil
}

// grow doubles the capacity, up to the ceiling.
func (d *delivery) grow(body []byte, ceiling int64) ([]byte, error) {
	capacity := min(2*int64(cap(body)), ceiling)
	charge := max(capacity-freeBodyBytes, 0) - d.charged
	if d.limits.buffered.Add(charge) > d.limits.maxBuffered {
		d.limits.buffered.Add(-charge)
		return nil, rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_LOG_UNAVAILABLE,
			"the gateway is handling as many large bodies as max_buffered_bytes allows: try again later",
			rpcerr.WithRetryDelay(retryDelay))
	}
	d.charged += charge
	return append(make([]byte, 0, capacity), body...), nil
}

func tooLarge(limit int64) error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_TOO_LARGE,
		fmt.Sprintf("the body is larger than the limit of %d bytes: send less, or raise max_body_bytes", limit))
}

// checkContent refuses a body that is not plain application/json. A delivery
// without a Content-Type is taken: HTTP allows it, no document says what Vezgo
// sends, and the body must be a JSON object anyway.
func checkContent(header http.Header) error {
	for _, encoding := range header["Content-Encoding"] {
		if encoding != "" && !strings.EqualFold(encoding, "identity") {
			return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CONTENT_ENCODING_UNSUPPORTED,
				"the body is compressed: send it without Content-Encoding")
		}
	}
	contentType := header.Get("Content-Type")
	if contentType == "" || contentType == "application/json" {
		return nil
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		mediaType = ""
	}
	switch {
	case mediaType == "application/json":
		return nil
	case mediaType == "text/xml" || strings.HasSuffix(mediaType, "xml"):
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CONTENT_TYPE_UNSUPPORTED,
			"XML webhooks are not supported: choose application/json (for Finicity, the webhookContentType of Generate Connect URL)")
	default:
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CONTENT_TYPE_UNSUPPORTED,
			"the content type is not supported: send application/json")
	}
}

// rawBody is the marshaler of the mux. It hands a body over as it was received,
// and answers every success with the same empty object.
type rawBody struct{ success []byte }

var _ runtime.Marshaler = rawBody{}

func (rawBody) NewDecoder(r io.Reader) runtime.Decoder {
	if d, ok := r.(*delivery); ok {
		return d
	}
	return runtime.DecoderFunc(func(any) error { return errNotADelivery })
}

func (m rawBody) Marshal(any) ([]byte, error) { return m.success, nil }

func (m rawBody) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(any) error {
		_, err := w.Write(m.success)
		return err
	})
}

func (rawBody) Unmarshal([]byte, any) error { return errNotADelivery }

func (rawBody) ContentType(any) string { return contentTypeJSON }

var errNotADelivery = errors.New("the request did not come through the edge")
