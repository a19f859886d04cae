package redact_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	sensitivityv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/sensitivity/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/redact"
)

// TestEveryFieldIsDecided demands a decision on every field of everything that is
// reachable from an event.
func TestEveryFieldIsDecided(t *testing.T) {
	t.Parallel()
	count := 0
	walk(func(field protoreflect.FieldDescriptor) {
		count++
		class := redact.Of(field)
		if _, known := sensitivityv1.Sensitivity_name[int32(class)]; !known {
			t.Errorf("%s is marked %v, which is no class", field.FullName(), class)
		}
		if class == sensitivityv1.Sensitivity_SENSITIVITY_UNSPECIFIED && !hasFieldsOfItsOwn(field) {
			t.Errorf("%s has no decision: mark it with the option webhookgateway.sensitivity.v1.sensitivity, "+
				"SENSITIVITY_NONE if nothing in it is sensitive", field.FullName())
		}
	})
	if count < 90 {
		t.Errorf("only %d fields were looked at", count)
	}
}

// TestClassesFit has the classes in the 32 bits of a set.
func TestClassesFit(t *testing.T) {
	t.Parallel()
	values := sensitivityv1.Sensitivity(0).Descriptor().Values()
	if n := values.Len(); n > 32 || int(values.Get(n-1).Number()) != n-1 {
		t.Errorf("the classes are not numbered from 0 to 31 at most")
	}
}

// hasFieldsOfItsOwn reports whether a field needs no mark, because its fields have.
func hasFieldsOfItsOwn(field protoreflect.FieldDescriptor) bool {
	return field.Message() != nil && !field.IsMap() && field.Message().ParentFile().Package() != "google.protobuf"
}

// walk calls a function for each field that is reachable from an event.
func walk(each func(protoreflect.FieldDescriptor)) {
	seen := make(map[protoreflect.FullName]bool)
	var visit func(protoreflect.MessageDescriptor)
	visit = func(message protoreflect.MessageDescriptor) {
		if seen[message.FullName()] {
			return
		}
		seen[message.FullName()] = true
		for i := range message.Fields().Len() {
			field := message.Fields().Get(i)
			each(field)
			if hasFieldsOfItsOwn(field) {
				visit(field.Message())
			}
		}
	}
	visit((&webhookgatewayv1.Event{}).ProtoReflect().Descriptor())
}

func TestParse(t *testing.T) {
	t.Parallel()
	set, err := redact.Parse([]string{"subject", "Account_Number", "subject"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := set.Names(), []string{"untyped", "subject", "account_number"}; !slices.Equal(got, want) {
		t.Errorf("the names are %v, want %v", got, want)
	}
	if again, err := redact.Parse(set.Names()); err != nil || again != set {
		t.Errorf("parsed again: %v, %v", again.Names(), err)
	}
	if none, err := redact.Parse(nil); err != nil || none != 0 || none.Names() != nil || redact.For(none) != nil {
		t.Errorf("no names give %v, %v", none.Names(), err)
	}
	query, err := redact.Parse([]string{"query"})
	if err != nil {
		t.Fatal(err)
	}
	if both := set & query; !slices.Equal(both.Names(), []string{"untyped"}) {
		t.Errorf("what masks without a class in common mask both is %v, want untyped", both.Names())
	}
	if _, err := redact.Parse([]string{"a", "query", "b"}); err == nil || !strings.Contains(err.Error(), "[0]: \"a\"") || !strings.Contains(err.Error(), "[2]: \"b\"") {
		t.Errorf("two wrong names give the error %v", err)
	}
	for _, name := range []string{"none", "unspecified", "", "account-number", "SENSITIVITY_SUBJECT"} {
		_, err := redact.Parse([]string{"query", name})
		const want = "choose from untyped, subject, name, account_id, account_number, amount, query, custom"
		if err == nil || !strings.HasPrefix(err.Error(), "[1]: ") || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q gives the error %v", name, err)
		}
	}
}

// TestDocument has docs/redaction.md name each class and all of its fields.
func TestDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/redaction.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			rows[strings.Trim(strings.TrimSpace(cells[1]), "`")] = line
		}
	}
	for _, name := range redact.All().Names() {
		if rows[name] == "" {
			t.Errorf("docs/redaction.md has no row for %s", name)
		}
	}
	walk(func(field protoreflect.FieldDescriptor) {
		class := redact.Of(field)
		if class <= sensitivityv1.Sensitivity_SENSITIVITY_NONE || field.Parent().Name() == "Header" {
			return
		}
		set, err := redact.Parse([]string{strings.TrimPrefix(class.String(), "SENSITIVITY_")})
		if err != nil {
			t.Fatal(err)
		}
		names := set.Names()
		short := string(field.Parent().Name()) + "." + string(field.Name())
		if row := rows[names[len(names)-1]]; !strings.Contains(row, "`"+short+"`") {
			t.Errorf("the row of %s in docs/redaction.md does not name %s", names[len(names)-1], short)
		}
	})
}
