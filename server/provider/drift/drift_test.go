package drift_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	connectv1 "github.com/webhook-gateway/webhook-gateway/gen/finicity/connect/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider/drift"
)

func TestDecodeFields(t *testing.T) {
	const number, str, boolean, object = "a number", "a string", "a boolean", "an object"
	leftOut := func(path, got, want string) string {
		return path + ": left out, " + got + " where " + want + " is expected"
	}
	coerced := func(path, got, want string) string {
		return path + ": coerced, " + got + " where " + want + " is expected"
	}
	for _, test := range []struct {
		body  string
		want  *connectv1.Account
		notes string
	}{
		{`{"id":"1"}`, &connectv1.Account{Id: proto.String("1")}, ""},
		{`{"id":""}`, &connectv1.Account{Id: proto.String("")}, ""},
		{`{"id":null,"balance":null,"detail":null}`, &connectv1.Account{}, ""},
		{`{"id":9223372036854775808}`, &connectv1.Account{Id: proto.String("9223372036854775808")}, coerced("id", number, str)},
		{`{"id":false}`, &connectv1.Account{Id: proto.String("false")}, coerced("id", boolean, str)},
		{`{"id":{}}`, &connectv1.Account{}, leftOut("id", object, str)},
		{`{"balance":0.1}`, &connectv1.Account{Balance: proto.Float64(0.1)}, ""},
		{`{"balance":true}`, &connectv1.Account{}, leftOut("balance", boolean, number)},
		{`{"balance":"1.5"}`, &connectv1.Account{Balance: proto.Float64(1.5)}, coerced("balance", str, number)},
		{`{"balance":" 1"}`, &connectv1.Account{}, leftOut("balance", str, number)},
		{`{"balance":"1 "}`, &connectv1.Account{}, leftOut("balance", str, number)},
		{`{"balance":"0x10"}`, &connectv1.Account{}, leftOut("balance", str, number)},
		{`{"balance":"1_0"}`, &connectv1.Account{}, leftOut("balance", str, number)},
		{`{"balance":"NaN"}`, &connectv1.Account{}, leftOut("balance", str, number)},
		{`{"balance":"1e999"}`, &connectv1.Account{}, "balance: left out, beyond the range of a double"},
		{`{"balance":1e-400}`, &connectv1.Account{Balance: proto.Float64(0)}, "balance: lost digits, more precise than a double"},
		{`{"createdDate":1.7e9}`, &connectv1.Account{CreatedDate: proto.Int64(1_700_000_000)}, ""},
		{`{"createdDate":"1700000000"}`, &connectv1.Account{CreatedDate: proto.Int64(1_700_000_000)}, coerced("createdDate", str, number)},
		{`{"createdDate":"2023-11-14"}`, &connectv1.Account{}, leftOut("createdDate", str, number)},
		{`{"createdDate":-9223372036854775808}`, &connectv1.Account{CreatedDate: proto.Int64(-1 << 63)}, ""},
		{`{"createdDate":-9223372036854775809}`, &connectv1.Account{}, "createdDate: left out, not an integer of 64 bits"},
		{`{"detail":{}}`, &connectv1.Account{Detail: &structpb.Struct{}}, ""},
		{`{"detail":"{}"}`, &connectv1.Account{Detail: &structpb.Struct{}}, coerced("detail", str, object)},
		{`{"detail":"{"}`, &connectv1.Account{}, leftOut("detail", str, object)},
		{`{"detail":3}`, &connectv1.Account{}, leftOut("detail", number, object)},
		{`{"id":"1","id":"2"}`, &connectv1.Account{Id: proto.String("2")}, "id: given more than once, the last counts"},
		{`{"id":"1","id":null}`, &connectv1.Account{}, "id: given more than once, the last counts"},
		{`{"ID":"1"}`, &connectv1.Account{}, "ID: unknown field"},
		{`{"":1,"a b":2,"x.y":3}`, &connectv1.Account{}, `"": unknown field; "a b": unknown field; "x.y": unknown field`},
	} {
		t.Run(test.body, func(t *testing.T) {
			var d drift.Decoder
			got := &connectv1.Account{}
			if _, err := d.Decode(drift.NewSchema(got), []byte(test.body), got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, protocmp.Transform()); diff != "" {
				t.Errorf("the message (-want +got):\n%s", diff)
			}
			if d.Notes() != test.notes {
				t.Errorf("the notes are %q, want %q", d.Notes(), test.notes)
			}
		})
	}
}

func TestDepth(t *testing.T) {
	nested := func(levels int) []byte {
		return []byte(strings.Repeat(`{"detail":`, 1) + strings.Repeat(`{"a":`, levels-1) + "1" + strings.Repeat("}", levels))
	}
	for levels, want := range map[int]string{
		30: "",
		31: "detail.a.a.a.a.a.a.a…: left out, nested deeper than 30 levels",
	} {
		var d drift.Decoder
		account := &connectv1.Account{}
		if _, err := d.Decode(drift.NewSchema(account), nested(levels), account); err != nil {
			t.Fatal(err)
		}
		if d.Notes() != want {
			t.Errorf("%d levels give the notes %q, want %q", levels, d.Notes(), want)
		}
	}
}

// TestSize checks that a small body does not become a large payload.
func TestSize(t *testing.T) {
	const elements, limit = 300_000, 20_000
	for name, body := range map[string]string{
		"accounts": `{"accounts":[` + strings.Repeat(`{},`, elements) + `{}]}`,
		"strings":  `{"held":[` + strings.Repeat(`"",`, elements) + `""]}`,
	} {
		t.Run(name, func(t *testing.T) {
			var d drift.Decoder
			added := &connectv1.Added{}
			held, err := d.Decode(drift.NewSchema(added, "held"), []byte(body), added)
			if err != nil {
				t.Fatal(err)
			}
			list := d.Value("held", held[0]).GetListValue()
			if n := len(added.GetAccounts()) + len(list.GetValues()); n != limit {
				t.Errorf("%d values were decoded, want %d", n, limit)
			}
			if !strings.HasSuffix(d.Notes(), "left out, the body has more than 20000 values") {
				t.Errorf("the notes are %q", d.Notes())
			}
		})
	}
}

// TestNotesAreBounded gives more and longer names than notes may hold.
func TestNotesAreBounded(t *testing.T) {
	var body strings.Builder
	body.WriteString(`{`)
	for i := range 1000 {
		fmt.Fprintf(&body, "%q:1,", strings.Repeat("ü\x01", 500)+strconv.Itoa(i))
	}
	body.WriteString(`"id":"1"}`)
	valid := strings.ReplaceAll(body.String(), `\x01`, `\u0001`)
	var d drift.Decoder
	account := &connectv1.Account{}
	if _, err := d.Decode(drift.NewSchema(account), []byte(valid), account); err != nil {
		t.Fatal(err)
	}
	notes := d.Notes()
	if !strings.HasSuffix(notes, "; and 992 more") || len(notes) > 4<<10 || !utf8.ValidString(notes) || strings.ContainsRune(notes, '\x01') {
		t.Errorf("the notes are %q", notes)
	}
}

func TestHeldNames(t *testing.T) {
	for body, want := range map[string]string{
		`{"hook":"SyncAccount"}`: "SyncAccount ",
		`{}`:                     " ",
		`{"hook":null}`:          " ",
		`{"hook":7}`:             "7 hook: coerced, a number where a string is expected",
		`{"hook":[]}`:            " hook: left out, an array where a string is expected",
		`{"hook":"` + strings.Repeat("x", 257) + `"}`:        " hook: left out, longer than 256 bytes",
		`{"hook":"a","hook":null}`:                           " hook: given more than once, the last counts",
		`{"\u0068ook":"\u0041\ud83d\ude00` + "\u00fc" + `"}`: "A😀ü ",
	} {
		var d drift.Decoder
		account := &connectv1.Account{}
		held, err := d.Decode(drift.NewSchema(account, "hook"), []byte(body), account)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Name("hook", held[0]) + " " + d.Notes(); got != want {
			t.Errorf("%s gives %q, want %q", body, got, want)
		}
	}
}

// TestNewSchemaPanics pins that a proto that cannot be filled is found at start.
func TestNewSchemaPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a message with an enum gives a schema")
		}
	}()
	drift.NewSchema(&webhookgatewayv1.Event{})
}
