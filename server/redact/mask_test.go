package redact_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	sensitivityv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/sensitivity/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/redact"
)

// TestNothingMaskedIsLeft decodes random bodies by the real providers, and looks for
// their values in the bytes of the masked events: those of masked classes are not
// there, and all others are.
func TestNothingMaskedIsLeft(t *testing.T) {
	t.Parallel()
	providers := providersOf(t)
	rapid.Check(t, func(t *rapid.T) {
		b := generate(t)
		classes := drawClasses(t)
		view := rapid.SampledFrom([]webhookgatewayv1.EventView{
			webhookgatewayv1.EventView_EVENT_VIEW_METADATA, webhookgatewayv1.EventView_EVENT_VIEW_FULL, webhookgatewayv1.EventView_EVENT_VIEW_RAW,
		}).Draw(t, "view")
		event := encode(t, record(t, decode(t, providers, b)), view)
		whole := withoutUntyped(t, event)
		masked := redact.For(classes).Apply(bytes.Clone(event))
		checkMasked(t, event, masked, classes)
		for _, s := range b.secrets {
			isMasked := slices.Contains(classes.Names(), s.class)
			for _, encoding := range s.encodings {
				switch there := bytes.Contains(masked, []byte(encoding)); {
				case there && isMasked:
					t.Errorf("%s of the class %s is there, masked by %v: %q of %s", s.text, s.class, classes.Names(), masked, b.json)
				case !there && !isMasked && bytes.Contains(whole, []byte(encoding)):
					t.Errorf("%s of the class %s is lost, masked by %v: of %s", s.text, s.class, classes.Names(), b.json)
				}
			}
		}
	})
}

// TestEveryType masks the sample of each type of event by each class alone.
func TestEveryType(t *testing.T) {
	t.Parallel()
	providers := providersOf(t)
	count := 0
	for i, sender := range all.Senders() {
		for _, sample := range sender.Samples() {
			count++
			decoded, err := providers[i].Decode(sample.Body)
			if err != nil {
				t.Fatal(err)
			}
			decoded.Event.RawBody = sample.Body
			event := encode(t, record(t, decoded.Event), webhookgatewayv1.EventView_EVENT_VIEW_RAW)
			for _, name := range redact.All().Names() {
				classes, err := redact.Parse([]string{name})
				if err != nil {
					t.Fatal(err)
				}
				masked := redact.For(classes).Apply(bytes.Clone(event))
				checkMasked(t, event, masked, classes)
				if e := unmarshal(t, masked); e.GetType() != sample.Type || e.GetTypeName() != sample.TypeName || e.Payload == nil {
					t.Errorf("%s masked by %s is %v", sample.TypeName, name, e)
				}
			}
		}
	}
	if count != 18 {
		t.Errorf("%d types of event", count)
	}
}

// TestUnknownFieldsAreLeftOut has each message of an event carry fields that the
// gateway does not know, and known ones encoded otherwise.
func TestUnknownFieldsAreLeftOut(t *testing.T) {
	t.Parallel()
	const value = "zqunknown"
	unknown := protowire.AppendString(protowire.AppendTag(nil, 4000, protowire.BytesType), value)
	unknown = protowire.AppendTag(unknown, 18_000, protowire.StartGroupType)
	unknown = protowire.AppendString(protowire.AppendTag(unknown, 1, protowire.BytesType), value)
	unknown = protowire.AppendTag(unknown, 18_000, protowire.EndGroupType)
	unknown = protowire.AppendFixed64(protowire.AppendTag(unknown, 6, protowire.Fixed64Type), 0x7a7a7a7a7a7a7a7a)
	for i, sender := range all.Senders() {
		for _, sample := range sender.Samples() {
			decoded, err := providersOf(t)[i].Decode(sample.Body)
			if err != nil {
				t.Fatal(err)
			}
			addUnknown(decoded.Event.ProtoReflect(), unknown)
			event, err := proto.Marshal(decoded.Event)
			if err != nil {
				t.Fatal(err)
			}
			masked := redact.For(mustParse(t, "untyped")).Apply(bytes.Clone(event))
			checkMasked(t, event, masked, mustParse(t, "untyped"))
			if bytes.Contains(masked, []byte(value)) || bytes.Contains(masked, []byte("zzzzzzzz")) {
				t.Errorf("%s has unknown fields: %q", sample.TypeName, masked)
			}
		}
	}
}

// addUnknown adds fields to a message, and to those of our protos in it.
func addUnknown(message protoreflect.Message, fields []byte) {
	message.SetUnknown(slices.Concat(message.GetUnknown(), fields))
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case !hasFieldsOfItsOwn(field):
		case field.IsList():
			for i := range value.List().Len() {
				addUnknown(value.List().Get(i).Message(), fields)
			}
		default:
			addUnknown(value.Message(), fields)
		}
		return true
	})
}

// TestMasked looks at one event in full.
func TestMasked(t *testing.T) {
	t.Parallel()
	body := `{"eventType":"added","eventId":"e1","customerId":"c1","webhookData":{"order":7},"alice@example.com":1,
		"payload":{"institutionId":"i1","accounts":[{"id":"a1","number":"4711","name":"IRA","balance":-12.5,"type":"ira","detail":{"x":1}},{"number":{"1234":1}}]}}`
	decoded, err := providersOf(t)[0].Decode([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	event, err := proto.Marshal(decoded.Event)
	if err != nil {
		t.Fatal(err)
	}
	classes := mustParse(t, "subject", "account_number", "amount")
	got := unmarshal(t, redact.For(classes).Apply(event))
	want := proto.CloneOf(decoded.Event)
	want.Subject, want.GetFinicity().CustomerId = "", nil
	want.DecodeError = "*: unknown field; payload.accounts[1].number: left out, an object where a string is expected"
	account := want.GetFinicity().GetAdded().GetAccounts()[0]
	account.Number, account.Balance, account.Detail = nil, nil, nil
	want.Masked = []sensitivityv1.Sensitivity{
		sensitivityv1.Sensitivity_SENSITIVITY_UNTYPED, sensitivityv1.Sensitivity_SENSITIVITY_SUBJECT,
		sensitivityv1.Sensitivity_SENSITIVITY_ACCOUNT_NUMBER, sensitivityv1.Sensitivity_SENSITIVITY_AMOUNT,
	}
	if !proto.Equal(got, want) {
		t.Errorf("the event is\n%v, want\n%v", got, want)
	}
}

func TestNoMask(t *testing.T) {
	t.Parallel()
	event := []byte("anything")
	if got := redact.For(0).Apply(event); !bytes.Equal(got, event) {
		t.Errorf("the event is %q", got)
	}
}

// FuzzApply gives a mask any bytes.
func FuzzApply(f *testing.F) {
	for i, sender := range all.Senders() {
		for _, sample := range sender.Samples() {
			decoded, err := providersOf(f)[i].Decode(sample.Body)
			if err != nil {
				f.Fatal(err)
			}
			decoded.Event.DecodeError = "a: b; c"
			event, err := proto.Marshal(decoded.Event)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(event)
		}
	}
	masks := []redact.Classes{mustParse(f, "untyped"), mustParse(f, "subject", "account_number"), redact.All()}
	f.Fuzz(func(t *testing.T, event []byte) {
		for _, classes := range masks {
			masked := redact.For(classes).Apply(bytes.Clone(event))
			if len(masked) > len(event)+redact.MaxOverhead {
				t.Errorf("%d bytes become %d", len(event), len(masked))
			}
			if again := redact.For(classes).Apply(bytes.Clone(masked)); !bytes.Equal(again, masked) {
				t.Errorf("masked again it differs: %q, %q", masked, again)
			}
			if proto.Unmarshal(event, &webhookgatewayv1.Event{}) == nil {
				checkMasked(t, event, masked, classes)
			}
		}
	})
}

// checkMasked checks what is true of every masked event.
func checkMasked(t rapid.TB, event, masked []byte, classes redact.Classes) {
	t.Helper()
	if again := redact.For(classes).Apply(bytes.Clone(masked)); !bytes.Equal(again, masked) {
		t.Errorf("masked again it differs: %q, %q", masked, again)
	}
	e := unmarshal(t, masked)
	var names []string
	for _, class := range e.GetMasked() {
		names = append(names, strings.ToLower(strings.TrimPrefix(class.String(), "SENSITIVITY_")))
	}
	if !slices.Equal(names, classes.Names()) {
		t.Errorf("masked says %v, want %v", names, classes.Names())
	}
	whole := unmarshal(t, event)
	if (e.GetDecodeError() == "") != (whole.GetDecodeError() == "") {
		t.Errorf("the decode error %q becomes %q", whole.GetDecodeError(), e.GetDecodeError())
	}
	checkKnown(t, e.ProtoReflect())
}

// checkKnown checks that a message has no unknown fields.
func checkKnown(t rapid.TB, message protoreflect.Message) {
	t.Helper()
	if len(message.GetUnknown()) > 0 {
		t.Errorf("%s has unknown fields", message.Descriptor().FullName())
	}
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case !hasFieldsOfItsOwn(field):
		case field.IsList():
			for i := range value.List().Len() {
				checkKnown(t, value.List().Get(i).Message())
			}
		default:
			checkKnown(t, value.Message())
		}
		return true
	})
}

func drawClasses(t *rapid.T) redact.Classes {
	names := rapid.SliceOfNDistinct(rapid.SampledFrom(redact.All().Names()), 1, -1, rapid.ID).Draw(t, "classes")
	classes, err := redact.Parse(names)
	if err != nil {
		t.Fatal(err)
	}
	return classes
}

func mustParse(t rapid.TB, names ...string) redact.Classes {
	t.Helper()
	classes, err := redact.Parse(names)
	if err != nil {
		t.Fatal(err)
	}
	return classes
}

// providersOf returns the providers in the order of all.Senders.
func providersOf(t testing.TB) []provider.Provider {
	t.Helper()
	config := all.DefaultConfig()
	config.Finicity.Enabled, config.Finicity.Verification = true, provider.ModeOff
	config.Finicity.Clients = map[string]finicity.ClientConfig{"acme": {}}
	config.Vezgo.Enabled, config.Vezgo.AnyClient = true, true
	providers, err := all.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return providers
}

// decode decodes a body by the provider that it is of.
func decode(t *rapid.T, providers []provider.Provider, b *body) *webhookgatewayv1.Event {
	p := providers[0]
	if bytes.Contains(b.json, []byte(`"hook"`)) {
		p = providers[1]
	}
	decoded, err := p.Decode(b.json)
	if err != nil {
		t.Fatal(err)
	}
	event := decoded.Event
	event.Provider, event.ClientId, event.RawBody = p.ID(), "acme", b.json
	event.Headers = []*webhookgatewayv1.Header{{Name: b.text("unknown"), Value: b.text("unknown")}}
	return event
}

func record(t rapid.TB, event *webhookgatewayv1.Event) eventlog.Record {
	t.Helper()
	entry, err := eventlog.NewEntry(event)
	if err != nil {
		t.Fatal(err)
	}
	r, err := eventlog.ParseRecord(1, entry.Complete(time.Unix(1_700_000_000, 5), eventlog.Totals{Bytes: 1}, true, 7), true)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func encode(t rapid.TB, r eventlog.Record, view webhookgatewayv1.EventView) []byte {
	t.Helper()
	history, err := eventlog.NewHistory(eventlog.NewID(), eventlog.EpochStart{Epoch: 7, First: 1})
	if err != nil {
		t.Fatal(err)
	}
	return r.AppendEvent(nil, history, view)
}

func unmarshal(t rapid.TB, encoded []byte) *webhookgatewayv1.Event {
	t.Helper()
	event := &webhookgatewayv1.Event{}
	if err := proto.Unmarshal(encoded, event); err != nil {
		t.Fatalf("the event cannot be decoded: %v", err)
	}
	return event
}

// withoutUntyped returns an event without what may hold any value.
func withoutUntyped(t rapid.TB, encoded []byte) []byte {
	t.Helper()
	event := unmarshal(t, encoded)
	event.DecodeError, event.RawBody, event.Headers = "", nil, nil
	b, err := proto.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
