package redact_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	connectv1 "github.com/webhook-gateway/webhook-gateway/gen/finicity/connect/v1"
	vezgov1 "github.com/webhook-gateway/webhook-gateway/gen/vezgo/v1"
)

// classOf has the class of what stands at a path of a body, and below it. Paths without
// one are not sensitive. It is written down apart from the marks in the protos, which
// are tested by it.
func classOf(path string) string {
	for p := path; ; p = p[:strings.LastIndexByte(p, '.')] {
		switch p {
		case "customerId", "consumerId", "user.id", "payload.accounts.customerId":
			return "subject"
		case "user.loginName", "payload.accounts.name", "payload.accounts.accountNickname":
			return "name"
		case "account.id", "deleted.accounts", "payload.accounts.id", "payload.accounts.parentAccount", "payload.accounts.institutionLoginId":
			return "account_id"
		case "payload.accounts.number", "payload.accounts.realAccountNumberLast4", "payload.accounts.accountNumberDisplay":
			return "account_number"
		case "payload.accounts.balance":
			return "amount"
		case "payload.query":
			return "query"
		case "webhookData":
			return "custom"
		case "done", "payload.accounts.detail", "unknown":
			return "untyped"
		}
		if !strings.Contains(p, ".") {
			return "none"
		}
	}
}

// secret is a value of a body, with the encodings that it could be recognised by.
type secret struct {
	class     string
	text      string
	encodings []string
}

// body is a random body, and what is in it.
type body struct {
	t       *rapid.T
	json    []byte
	secrets []secret
}

// generate returns a body of a provider's event, with all the fields of its messages,
// any of which may have drifted.
func generate(t *rapid.T) *body {
	b := &body{t: t}
	var object map[string]any
	if rapid.Bool().Draw(t, "vezgo") {
		object = b.object((&vezgov1.SyncEvent{}).ProtoReflect().Descriptor(), "")
		object["hook"] = rapid.SampledFrom([]string{"SyncAccount", "SyncError", "SyncNew"}).Draw(t, "hook")
		object["error"] = b.text("error")
	} else {
		connect := (&connectv1.ConnectEvent{}).ProtoReflect().Descriptor()
		object = b.object(connect, "")
		arms := connect.Oneofs().ByName("event").Fields()
		if i := rapid.IntRange(0, arms.Len()).Draw(t, "type"); i < arms.Len() {
			object["eventType"], object["payload"] = arms.Get(i).JSONName(), b.payload(arms.Get(i))
		} else {
			object["eventType"], object["payload"] = "new", b.any("unknown", 0)
		}
	}
	encoded, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	b.json = encoded
	return b
}

func (b *body) payload(arm protoreflect.FieldDescriptor) any {
	switch arm.JSONName() {
	case "done":
		return b.any("done", 0)
	case "accountsDeleted":
		return map[string]any{"accounts": []any{b.text("deleted.accounts"), b.any("deleted.accounts", 0)}, "institutionId": b.text("payload.institutionId")}
	}
	return b.object(arm.Message(), "payload.")
}

func (b *body) object(message protoreflect.MessageDescriptor, path string) map[string]any {
	object := make(map[string]any)
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		if oneof := field.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
			continue
		}
		name := field.JSONName()
		if field.IsList() {
			object[name] = []any{b.field(field, path+name), b.field(field, path+name)}
		} else {
			object[name] = b.field(field, path+name)
		}
	}
	if b.oneIn(4) {
		object[b.name("unknown")] = b.any("unknown", 0)
	}
	return object
}

func (b *body) field(field protoreflect.FieldDescriptor, path string) any {
	ofOurs := hasFieldsOfItsOwn(field)
	switch drifted := b.oneIn(8); {
	case drifted && ofOurs: // nothing of it has a place
		return b.any("unknown", 0)
	case drifted:
		return b.any(path, 0)
	case field.Kind() == protoreflect.StringKind:
		return b.text(path)
	case field.Kind() == protoreflect.BoolKind:
		return b.oneIn(2)
	case field.Message() == nil:
		return b.number(path)
	case !ofOurs:
		return map[string]any{b.name(path): b.any(path, 0), b.name(path): b.any(path, 0)}
	}
	return b.object(field.Message(), path+".")
}

// any returns any value.
func (b *body) any(path string, depth int) any {
	switch rapid.IntRange(0, 6+2*min(depth, 1)).Draw(b.t, "kind") {
	case 0:
		return map[string]any{b.name(path): b.any(path, depth+1)}
	case 1:
		return []any{b.any(path, depth+1), b.text(path)}
	case 2:
		return b.number(path)
	case 3:
		return json.Number("1e999") // noted wherever it stands
	case 4:
		return nil
	case 5:
		return b.oneIn(2)
	}
	return b.text(path)
}

func (b *body) oneIn(n int) bool { return rapid.IntRange(1, n).Draw(b.t, "one") == 1 }

func (b *body) text(path string) string {
	text := fmt.Sprintf("zq%dx%s", len(b.secrets), rapid.StringMatching(`[a-z0-9]{8}`).Draw(b.t, "text"))
	b.secrets = append(b.secrets, secret{classOf(path), text, []string{text}})
	return text
}

// name returns the name of a member, which no proto knows.
func (b *body) name(path string) string {
	return b.text(path) + rapid.SampledFrom([]string{"", "é", ": a; b", `"`, strings.Repeat("n", 60)}).Draw(b.t, "rest")
}

func (b *body) number(path string) json.Number {
	n := 1<<48 + rapid.Int64Range(0, 1<<20).Draw(b.t, "number")<<12 + int64(len(b.secrets)) // each once
	text := fmt.Sprint(n)
	b.secrets = append(b.secrets, secret{classOf(path), text, []string{
		text,
		string(binary.AppendUvarint(nil, uint64(n))),
		string(binary.LittleEndian.AppendUint64(nil, math.Float64bits(float64(n)))), // exact
	}})
	return json.Number(text)
}
