package providertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

// testSamples checks that what the sender sends is verified and carried whole.
func (s Suite) testSamples(t *testing.T) {
	for _, sample := range s.Sender.Samples() {
		t.Run(sample.TypeName, func(t *testing.T) {
			identity, err := s.Provider.Authenticate(s.Delivery(t, sample.Body))
			if err != nil {
				t.Fatalf("Authenticate: %v", err)
			}
			if identity.ClientID != s.ClientID {
				t.Errorf("the client is %q, want %q", identity.ClientID, s.ClientID)
			}
			if got := identity.Verification.GetVerdict(); got != webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED {
				t.Errorf("the verdict is %v", got)
			}
			event := CheckDecode(t, s.Provider, sample.Body).Event
			if event.GetDecodeError() != "" {
				t.Errorf("the decode error is %q, want none", event.GetDecodeError())
			}
			if event.GetType() != sample.Type || event.GetTypeName() != sample.TypeName {
				t.Errorf("the type is %v %q, want %v %q", event.GetType(), event.GetTypeName(), sample.Type, sample.TypeName)
			}
		})
	}
}

// testEveryType checks that each event type has a sample and a case, and that the
// session is made of samples.
func (s Suite) testEveryType(t *testing.T) {
	samples := make(map[string]webhookgatewayv1.EventType)
	for _, sample := range s.Sender.Samples() {
		samples[sample.TypeName] = sample.Type
	}
	if diff := cmp.Diff(s.eventTypes(), slices.Sorted(maps.Values(samples))); diff != "" {
		t.Errorf("the event types that have a sample (-want +got):\n%s", diff)
	}
	cases := make(map[webhookgatewayv1.EventType]bool)
	for _, name := range caseNames(t) {
		cases[readOutcome(t, filepath.Join("testdata", name, "want.textproto")).event.GetType()] = true
	}
	for _, eventType := range s.eventTypes() {
		if !cases[eventType] {
			t.Errorf("%v has no case in testdata", eventType)
		}
	}
	for _, name := range s.Sender.Session() {
		if _, ok := samples[name]; !ok {
			t.Errorf("the session has %q, which is no sample", name)
		}
	}
}

// testHeaders checks the names of the headers that the provider looks at.
func (s Suite) testHeaders(t *testing.T) {
	verified, secret := s.Provider.VerifiedHeaders(), s.Provider.SecretHeaders()
	for _, name := range slices.Concat(verified, secret) {
		if name == "" || name != http.CanonicalHeaderKey(name) {
			t.Errorf("%q is not the canonical name of a header", name)
		}
	}
	for _, name := range verified {
		if slices.Contains(secret, name) {
			t.Errorf("%s is stored and holds a secret", name)
		}
	}
}

// testFresh checks that a fresh sample is the same event but for its id.
func (s Suite) testFresh(t *testing.T) {
	for _, sample := range s.Sender.Samples() {
		original := CheckDecode(t, s.Provider, sample.Body)
		first := CheckDecode(t, s.Provider, s.Sender.Fresh(sample.Body))
		second := CheckDecode(t, s.Provider, s.Sender.Fresh(sample.Body))
		if first.Event.GetType() != sample.Type {
			t.Errorf("%s: a fresh sample is of type %v", sample.TypeName, first.Event.GetType())
		}
		ids := []string{original.Event.GetProviderEventId(), first.Event.GetProviderEventId(), second.Event.GetProviderEventId()}
		if ids[0] != "" && (ids[1] == ids[0] || ids[1] == ids[2] || ids[1] == "") {
			t.Errorf("%s: the event ids are %q", sample.TypeName, ids)
		}
	}
}

// testDrift replaces every value of every sample by values of all kinds.
func (s Suite) testDrift(t *testing.T) {
	others := []any{nil, true, json.Number("-1e400"), json.Number("9223372036854775808"), 1.5, "", "text", map[string]any{"a": []any{}}, []any{nil, "x", map[string]any{}}}
	for _, sample := range s.Sender.Samples() {
		var object map[string]any
		if err := json.Unmarshal(sample.Body, &object); err != nil {
			t.Fatal(err)
		}
		eachValue(object, func(set func(any)) {
			for _, other := range others {
				set(other)
				body, err := json.Marshal(object)
				if err != nil {
					t.Fatal(err)
				}
				CheckDecode(t, s.Provider, body)
			}
		})
		object["aMemberThatNobodyKnows"] = "a secret value"
		body, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		note := CheckDecode(t, s.Provider, body).Event.GetDecodeError()
		if !strings.Contains(note, "aMemberThatNobodyKnows: unknown field") || strings.Contains(note, "secret value") {
			t.Errorf("%s: the decode error with an unknown member is %q", sample.TypeName, note)
		}
	}
}

// eachValue calls visit for every value within a value, with a way to replace it,
// and puts it back.
func eachValue(value any, visit func(set func(any))) {
	switch value := value.(type) {
	case map[string]any:
		for name, member := range value {
			eachValue(member, visit)
			visit(func(other any) { value[name] = other })
			value[name] = member
		}
	case []any:
		for i, element := range value {
			eachValue(element, visit)
			visit(func(other any) { value[i] = other })
			value[i] = element
		}
	}
}

// testAnyObject checks that no JSON object is refused.
func (s Suite) testAnyObject(t *testing.T) {
	deep := strings.Repeat(`{"a":[`, 2000) + strings.Repeat(`]}`, 2000)
	for name, body := range map[string]string{
		"empty":              `{}`,
		"with space":         " {\r\n}\t",
		"unknown":            `{"type":"new"}`,
		"deep":               deep,
		"deep in all places": `{"payload":` + deep + `,"webhookData":` + deep + `,"user":` + deep + `}`,
		"escaped names":      `{"\u0075ser":{"\u0069d":"x"},"custom\u0065rId":"1"}`,
		"duplicate names":    `{"user":{"id":"1"},"user":{"id":"2"},"customerId":"1","customerId":"2"}`,
		"not UTF-8":          "{\"\xff\":\"\xff\",\"customerId\":\"\xc3\x28\",\"user\":{\"loginName\":\"\\ud800\"}}",
		"a long name":        `{"` + strings.Repeat("ü", 1000) + `":1}`,
		"many names":         `{` + strings.Repeat(`"a":1,`, 10000) + `"b":2}`,
	} {
		t.Run(name, func(t *testing.T) {
			event := CheckDecode(t, s.Provider, []byte(body)).Event
			if event.GetType() != webhookgatewayv1.EventType_EVENT_TYPE_UNRECOGNIZED || event.GetDecodeError() == "" {
				t.Errorf("the type is %v and the decode error %q, want unrecognised and one", event.GetType(), event.GetDecodeError())
			}
		})
	}
}

func (s Suite) testNotAnObject(t *testing.T) {
	for name, body := range map[string]string{
		"nothing":            ``,
		"space":              " \n",
		"null":               `null`,
		"a string":           `"{}"`,
		"an array":           `[{}]`,
		"two objects":        `{}{}`,
		"an open object":     `{"a":1`,
		"trailing garbage":   `{} x`,
		"trailing comma":     `{"a":1,}`,
		"a byte order mark":  "\ufeff{}",
		"XML":                `<event/>`,
		"a form":             `payload=%7B%7D`,
		"no quotes":          `{a:1}`,
		"NaN":                `{"a":NaN}`,
		"a control in text":  "{\"a\":\"\n\"}",
		"NUL":                "{}\x00",
		"16 MiB of brackets": strings.Repeat("[", 16<<20),
		"a deep object":      strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000),
	} {
		t.Run(name, func(t *testing.T) { CheckNotAnObject(t, s.Provider, []byte(body)) })
	}
}

// testConcurrent is for the race detector.
func (s Suite) testConcurrent(t *testing.T) {
	var group sync.WaitGroup
	for _, sample := range s.Sender.Samples() {
		for range 4 {
			group.Go(func() {
				if _, err := s.Provider.Authenticate(s.Delivery(t, sample.Body)); err != nil {
					t.Errorf("Authenticate %s: %v", sample.TypeName, err)
				}
				CheckDecode(t, s.Provider, sample.Body)
			})
		}
	}
	group.Wait()
}

// CheckDecode decodes a JSON object and checks what holds for every one: it is
// not refused, not changed, gives the same event again, and that event can be
// encoded and is bounded outside of the payload.
func CheckDecode(t testing.TB, p provider.Provider, body []byte) provider.Decoded {
	t.Helper()
	before := bytes.Clone(body)
	decoded, err := p.Decode(body)
	if err != nil {
		t.Errorf("Decode refuses an object: %v\n%.200q", err, body)
		return provider.Decoded{Event: &webhookgatewayv1.Event{}}
	}
	if !bytes.Equal(before, body) {
		t.Errorf("Decode changed the body %.200q", before)
	}
	wire, err := proto.Marshal(decoded.Event)
	if err != nil {
		t.Errorf("the event cannot be encoded: %v\n%.200q", err, body)
	}
	back := &webhookgatewayv1.Event{}
	// What other protobuf libraries stop at, less what the event is nested in.
	if err := (proto.UnmarshalOptions{RecursionLimit: 100 - 2}).Unmarshal(wire, back); err != nil {
		t.Errorf("the event cannot be decoded: %v\n%.200q", err, body)
	}
	again, err := p.Decode(body)
	if err != nil {
		t.Errorf("Decode refuses what it accepted: %v\n%.200q", err, body)
	}
	if !proto.Equal(again.Event, back) {
		t.Errorf("two events of one body (-one +other):\n%s", cmp.Diff(again.Event, back, protocmp.Transform()))
	}
	if decoded.Event.GetType() == webhookgatewayv1.EventType_EVENT_TYPE_UNSPECIFIED {
		t.Errorf("the event has no type\n%.200q", body)
	}
	if n := len(decoded.Event.GetDecodeError()); n > 8<<10 {
		t.Errorf("the decode error has %d bytes", n)
	}
	id, subject, typeName := decoded.Event.GetProviderEventId(), decoded.Event.GetSubject(), decoded.Event.GetTypeName()
	if len(id) > provider.MaxEventIDBytes || len(subject) > provider.MaxSubjectBytes || len(typeName) > 256 {
		t.Errorf("the event id has %d bytes, the subject %d, the type name %d", len(id), len(subject), len(typeName))
	}
	return decoded
}

// CheckNotAnObject checks that a body is refused for what it is.
func CheckNotAnObject(t testing.TB, p provider.Provider, body []byte) {
	t.Helper()
	_, err := p.Decode(body)
	var refusal *provider.Refusal
	if !errors.As(err, &refusal) {
		t.Fatalf("Decode returns %v, want a refusal\n%.200q", err, body)
	}
	if refusal.Reason != webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_NOT_JSON_OBJECT {
		t.Errorf("the reason is %v", refusal.Reason)
	}
	if len(refusal.Message) > 200 {
		t.Errorf("the message has %d bytes", len(refusal.Message))
	}
}
