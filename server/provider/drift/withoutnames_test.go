package drift_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	connectv1 "github.com/webhook-gateway/webhook-gateway/gen/finicity/connect/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider/drift"
)

func known(name string) bool { return name == "id" || name == "accounts" || name == "query" }

func TestWithoutNames(t *testing.T) {
	t.Parallel()
	for notes, want := range map[string]string{
		``:                                         ``,
		`id: coerced, a number`:                    `id: coerced, a number`,
		`accounts[3].id: left out`:                 `accounts[3].id: left out`,
		`accounts[3].alice: left out`:              `accounts[3].*: left out`,
		`alice.id: left out`:                       `*.id: left out`,
		`"a@b.c": x; "x: y; z\"q".id: t`:           `*: x; *.id: t`,
		`"aaaaaa"…: x`:                             `*…: x`,
		`id.id.id.id.id.id.id.bob…: x`:             `id.id.id.id.id.id.id.*…: x`,
		`body: nested deeper; id: x; and 992 more`: `*: nested deeper; id: x; and 992 more`,
		`and: x; and 12 more`:                      `*: x; and 12 more`,
		`*: x; accounts[0].*: y`:                   `*: x; accounts[0].*: y`,
		`*`:                                        `*`,
		`not notes at all`:                         `*`,
		`alice@example.com`:                        `*`,
		`: no path`:                                `*`,
		`id: x; alice`:                             `*`,
		`"unterminated: x`:                         `*`,
		`and alice more`:                           `*`,
	} {
		got := drift.WithoutNames(notes, known)
		if got != want {
			t.Errorf("WithoutNames(%q) = %q, want %q", notes, got, want)
		}
		if again := drift.WithoutNames(got, known); again != got {
			t.Errorf("%q becomes %q", got, again)
		}
	}
}

// FuzzWithoutNames drifts in four ways by members of any name, and demands that no
// name is left that is not of the schema.
func FuzzWithoutNames(f *testing.F) {
	for _, name := range []string{"secret", "a: b; c", `"`, "…", "[0]", "and 3 more", "\x00", "ü", strings.Repeat("long", 40), "*", "..", "`", "'"} {
		f.Add(name)
	}
	account := (&connectv1.Account{}).ProtoReflect().Descriptor().Fields()
	ofSchema := func(name string) bool { return account.ByJSONName(name) != nil }
	const want = "*: unknown field; id: left out, an object where a string is expected; " +
		"detail.*.*[0]: left out, beyond the range of a double; number: coerced, a number where a string is expected"
	f.Fuzz(func(t *testing.T, name string) {
		if ofSchema(name) {
			t.Skip("a name of the schema, which is shown")
		}
		quoted, err := json.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		body := fmt.Sprintf(`{%[1]s:1,"id":{},"detail":{%[1]s:{%[1]s:[1e999]}},"number":7}`, quoted)
		var d drift.Decoder
		message := &connectv1.Account{}
		if _, err := d.Decode(drift.NewSchema(message), []byte(body), message); err != nil {
			t.Fatal(err)
		}
		got := drift.WithoutNames(d.Notes(), ofSchema)
		if strings.ReplaceAll(got, "*…", "*") != want {
			t.Errorf("%s gives %q, of %q", body, got, d.Notes())
		}
		if len(got) > len(d.Notes()) {
			t.Errorf("%q is longer than %q", got, d.Notes())
		}
	})
}
