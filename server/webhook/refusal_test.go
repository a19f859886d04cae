package webhook

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// firstLogReason is where the reasons of the edge end and those of the log and
// of EventService begin.
const firstLogReason = webhookgatewayv1.ErrorReason_ERROR_REASON_LOG_UNAVAILABLE

// Every reason of the edge has a status of its own class, all others are 503.
func TestHTTPStatusOfEveryReason(t *testing.T) {
	t.Parallel()
	want := map[webhookgatewayv1.ErrorReason]int{
		webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_NOT_JSON_OBJECT:         400,
		webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_INCOMPLETE:              400,
		webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_TIMEOUT:                 408,
		webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_TOO_LARGE:               413,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CONTENT_TYPE_UNSUPPORTED:     415,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CONTENT_ENCODING_UNSUPPORTED: 415,
		webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISSING:            401,
		webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISMATCH:           401,
		webhookgatewayv1.ErrorReason_ERROR_REASON_SHARED_SECRET_MISMATCH:       401,
		webhookgatewayv1.ErrorReason_ERROR_REASON_SOURCE_NOT_ALLOWED:           403,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_ID_MISSING:            403,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_ID_MISMATCH:           403,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_NOT_ALLOWED:           403,
		webhookgatewayv1.ErrorReason_ERROR_REASON_PROVIDER_UNKNOWN:             404,
		webhookgatewayv1.ErrorReason_ERROR_REASON_CLIENT_UNKNOWN:               404,
		webhookgatewayv1.ErrorReason_ERROR_REASON_PATH_UNKNOWN:                 404,
		webhookgatewayv1.ErrorReason_ERROR_REASON_METHOD_NOT_ALLOWED:           405,
		webhookgatewayv1.ErrorReason_ERROR_REASON_RATE_LIMITED:                 429,
		webhookgatewayv1.ErrorReason_ERROR_REASON_OVERLOADED:                   503,
		webhookgatewayv1.ErrorReason_ERROR_REASON_INTERNAL:                     503,
		webhookgatewayv1.ErrorReason_ERROR_REASON_UNVERIFIED_QUOTA:             429,
	}
	for number, name := range webhookgatewayv1.ErrorReason_name {
		reason := webhookgatewayv1.ErrorReason(number)
		code, ok := want[reason]
		switch {
		case number == 0 || reason >= firstLogReason:
			code = http.StatusServiceUnavailable
		case !ok:
			t.Errorf("%s is a reason of the edge that this test does not know", name)
		}
		if got := httpStatus(reason); got != code {
			t.Errorf("httpStatus(%s) = %d, want %d", name, got, code)
		}
	}
}

// The comments of the contract say the same as the table.
func TestHTTPStatusIsDocumented(t *testing.T) {
	t.Parallel()
	contract, err := os.ReadFile(filepath.Join("..", "..", "proto", "webhookgateway", "v1", "error_reason.proto"))
	if err != nil {
		t.Fatal(err)
	}
	documented := regexp.MustCompile(`HTTP (\d{3})[^=]*?(ERROR_REASON_\w+) =`).FindAllSubmatch(contract, -1)
	if len(documented) < 18 {
		t.Fatalf("only %d reasons with an HTTP status are documented", len(documented))
	}
	for _, match := range documented {
		name := string(match[2])
		want, err := strconv.Atoi(string(match[1]))
		if err != nil {
			t.Fatal(err)
		}
		if got := httpStatus(webhookgatewayv1.ErrorReason(webhookgatewayv1.ErrorReason_value[name])); got != want {
			t.Errorf("httpStatus(%s) = %d, documented as %d", name, got, want)
		}
	}
}
