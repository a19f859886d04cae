package eventlog

import (
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

func storedWith(t *testing.T, trace *webhookgatewayv1.TraceContext) Record {
	t.Helper()
	event := fullEvent()
	event.TraceContext = trace
	entry, err := NewEntry(event)
	if err != nil {
		t.Fatal(err)
	}
	record, err := ParseRecord(1, entry.Complete(time.Now(), Totals{}, false, 1), true)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func TestTraceID(t *testing.T) {
	t.Parallel()
	const trace = "0af7651916cd43dd8448eb211c80319c"
	for flags, want := range map[string]string{"00": "", "01": trace, "02": "", "03": trace, "0a": "", "0b": trace, "0": ""} {
		parent := "00-" + trace + "-b7ad6b7169203331-" + flags
		if got := string(storedWith(t, &webhookgatewayv1.TraceContext{Traceparent: parent}).TraceID()); got != want {
			t.Errorf("%s: %q, want %q", parent, got, want)
		}
	}
	if got := storedWith(t, nil).TraceID(); got != nil {
		t.Errorf("%q of an event without a trace", got)
	}
}

// What is damaged has no trace, or another one, and that is all.
func TestTraceIDOfDamagedRecords(t *testing.T) {
	t.Parallel()
	whole := storedWith(t, fullEvent().GetTraceContext())
	for at := whole.idEnd(); at < whole.metadataEnd(); at++ {
		for _, b := range []byte{0, 0x7f, 0x80, 0xff} {
			value := slices.Clone(whole.Value())
			value[at] = b
			record, err := ParseRecord(1, value, true)
			if err != nil {
				t.Fatal(err)
			}
			if id := record.TraceID(); id != nil && (len(id) != 32 || !utf8.Valid(id)) {
				t.Errorf("byte %d is %#x: %q", at, b, id)
			}
		}
	}
}
