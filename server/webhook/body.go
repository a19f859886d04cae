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

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/telemetry"
)

// firstBodyBytes are allocated for a body, however long it says it is.
const firstBodyBytes = 4 << 10

// readBytes are read of a body at once.
const readBytes = 64 << 10

// delivery is what the gateway's mux does not carry from the HTTP request to the
// unary handler. It travels in the context, and as the body of the request that
// the mux sees, so that it is also what reads the body.
type delivery struct {
	header   http.Header
	rawQuery string
	source   netip.Addr
	// sourceKnown reports whether the source is that of the sender, and not of
	// something in between that the gateway was not told of.
	sourceKnown bool

	body          io.ReadCloser
	contentLength int64
	maxBody       int64
	share         share

	// What became of it, for the answer to a refusal, its log line and its count.
	provider *endpoint
	clientID string
	verdict  webhookgatewayv1.VerificationVerdict // once it is known
	canary   bool                                 // it is the canary's, once that is known
	bodyErr  error
	cause    error
	// bodyBytes is the size of the body, once it was read.
	bodyBytes int64
	bodyRead  bool
	// Outcome of a delivery: OutcomeStored or another, or the reason of the refusal. With
	// a refusal comes the status that it was answered with.
	outcome string
	code    int
	// fault is the id of a fault of ours.
	fault string
	// span is that of the request; nil if it is not traced.
	span *telemetry.Span
}

// Read and Close make the delivery the body of a request. Nobody calls them: the
// marshaler takes the body by Decode.
func (d *delivery) Read(p []byte) (int, error) { return d.body.Read(p) }

func (d *delivery) Close() error { return d.body.Close() }

// Decode reads the body, whose bytes are then in the *[]byte v. It is called for a
// delivery that was admitted, so that nothing is read of any other. The generated code
// keeps no more than the text of an error, so bodyErr keeps it whole.
func (d *delivery) Decode(v any) error {
	target, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("decode a body into %T: the HTTP mapping must name a bytes field", v)
	}
	var body []byte
	body, d.bodyErr = d.readBody()
	if refusal := d.share.arrived(); refusal != nil {
		d.bodyErr = refusal
	}
	if d.bodyErr == nil {
		*target = body
		d.bodyBytes, d.bodyRead = int64(len(body)), true
	}
	return d.bodyErr
}

// readBody returns the body byte for byte. A Content-Length is believed only as
// a limit: memory is taken as the bytes arrive.
func (d *delivery) readBody() ([]byte, error) {
	known := d.contentLength >= 0
	ceiling := d.maxBody + 1
	if known {
		ceiling = d.contentLength
	}
	body := make([]byte, 0, min(firstBodyBytes, ceiling))
	for int64(len(body)) < ceiling {
		if len(body) == cap(body) {
			var err error
			if body, err = d.grow(body, ceiling); err != nil {
				return nil, err
			}
		}
		n, err := d.body.Read(body[len(body):min(cap(body), len(body)+readBytes)])
		body = body[:len(body)+n]
		if len(body) > readBytes {
			d.share.pace(n)
		}
		switch {
		case err == nil || int64(len(body)) == ceiling:
		case errors.Is(err, io.EOF) && !known:
			return body, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_TIMEOUT,
				"the body did not arrive in time: send it faster, or raise webhooks.read_timeout")
		default:
			return nil, rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_INCOMPLETE,
				"the body ended before its announced length, or its chunks are malformed: send it again")
		}
	}
	if !known {
		return nil, tooLarge(d.maxBody)
	}
	return body, nil
}

// grow doubles the capacity, up to the ceiling.
func (d *delivery) grow(body []byte, ceiling int64) ([]byte, error) {
	capacity := min(2*int64(cap(body)), ceiling)
	if err := d.share.take(capacity - int64(cap(body))); err != nil {
		return nil, err
	}
	return append(make([]byte, 0, capacity), body...), nil
}

func tooLarge(limit int64) error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_TOO_LARGE,
		fmt.Sprintf("the body is larger than the limit of %d bytes: send less, or raise webhooks.max_body_bytes", limit))
}

// checkContent refuses what cannot be a JSON object: compressed bodies and XML, which
// Finicity sends to who chose it. Any other content type is taken, and none: the body
// must be a JSON object anyway, and a provider that changes its header loses nothing.
func checkContent(header http.Header) error {
	for _, encoding := range header["Content-Encoding"] {
		if encoding != "" && !strings.EqualFold(encoding, "identity") {
			return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CONTENT_ENCODING_UNSUPPORTED,
				"the body is compressed: send it without Content-Encoding")
		}
	}
	contentType := header.Get("Content-Type")
	if contentType == "application/json" {
		return nil
	}
	mediaType, _, _ := mime.ParseMediaType(contentType) // what is malformed is no XML
	if mediaType == "text/xml" || strings.HasSuffix(mediaType, "xml") {
		return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CONTENT_TYPE_UNSUPPORTED,
			"XML webhooks are not supported: choose application/json where the provider is told of this URL")
	}
	return nil
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
