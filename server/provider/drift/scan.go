package drift

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/go-json-experiment/json/jsontext"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

// Value is one JSON value without space around it, known to be valid. It is a
// part of the body, not a copy. Nil is no value.
type Value []byte

// checkObject returns body as a value, or a *provider.Refusal if it is not one
// JSON object. Duplicate names and invalid UTF-8 are left to decoding. A byte
// order mark is refused: it is not JSON, and no provider was seen to send it.
func checkObject(body []byte) (Value, error) {
	text := bytes.Trim(body, " \t\r\n")
	valid := jsontext.Value(text).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if valid && text[0] == '{' {
		return text, nil
	}
	return nil, &provider.Refusal{
		Reason:  webhookgatewayv1.ErrorReason_ERROR_REASON_BODY_NOT_JSON_OBJECT,
		Message: "the body is not one JSON object: " + whyNotObject(text, valid),
	}
}

func whyNotObject(text []byte, valid bool) string {
	switch {
	case len(text) == 0:
		return "it is empty"
	case valid:
		return "it is " + article(kindOf(text))
	case bytes.HasPrefix(text, []byte("\ufeff")):
		return "it begins with a byte order mark"
	}
	decoder := jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for {
		_, err := decoder.ReadToken()
		var syntax *jsontext.SyntacticError
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF):
			return "it ends in the middle of a value"
		case errors.As(err, &syntax):
			return fmt.Sprintf("it is not valid JSON at byte %d%s", syntax.ByteOffset, depthHint(decoder))
		case err != nil:
			return "it is not valid JSON"
		case decoder.StackDepth() == 0:
			return fmt.Sprintf("there is more after its end at byte %d", decoder.InputOffset())
		}
	}
}

// depthHint names the one limit of the parser that is not in the grammar.
func depthHint(decoder *jsontext.Decoder) string {
	if decoder.StackDepth() < maxParsedDepth {
		return ""
	}
	return fmt.Sprintf(", or nested deeper than %d levels", maxParsedDepth)
}

// maxParsedDepth is the depth that jsontext stops at.
const maxParsedDepth = 10_000

// members iterates over the names and values of an object in their order. Names
// are still quoted.
func (v Value) members() iter.Seq2[Value, Value] {
	return func(yield func(name, value Value) bool) {
		c := cursor{text: v, at: 1}
		for c.more() {
			name := c.next()
			c.more() // the colon
			if !yield(name, c.next()) {
				return
			}
		}
	}
}

// elements iterates over the elements of an array.
func (v Value) elements() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		c := cursor{text: v, at: 1}
		for c.more() {
			if !yield(c.next()) {
				return
			}
		}
	}
}

// cursor walks over JSON that is known to be valid, so it meets no errors.
type cursor struct {
	text Value
	at   int
}

// more moves to the next value within an object or array and reports whether
// there is one.
func (c *cursor) more() bool {
	for {
		switch c.text[c.at] {
		case ' ', '\t', '\r', '\n', ',', ':':
			c.at++
		case ']', '}':
			return false
		default:
			return true
		}
	}
}

// next returns the value that the cursor is at, and moves past it.
func (c *cursor) next() Value {
	start, depth := c.at, 0
	for {
		switch c.text[c.at] {
		case '"':
			c.skipString()
		case '{', '[':
			depth++
			c.at++
		case '}', ']':
			depth--
			c.at++
		case ' ', '\t', '\r', '\n', ',', ':':
			c.at++
			continue // the value did not end here
		default:
			c.skipLiteral()
		}
		if depth == 0 {
			return c.text[start:c.at:c.at]
		}
	}
}

func (c *cursor) skipString() {
	for c.at++; c.text[c.at] != '"'; c.at++ {
		if c.text[c.at] == '\\' {
			c.at++
		}
	}
	c.at++
}

func (c *cursor) skipLiteral() {
	for ; c.at < len(c.text); c.at++ {
		switch c.text[c.at] {
		case ' ', '\t', '\r', '\n', ',', ']', '}':
			return
		}
	}
}

type kind string

const (
	kindNull    kind = "null"
	kindBoolean kind = "boolean"
	kindNumber  kind = "number"
	kindString  kind = "string"
	kindObject  kind = "object"
	kindArray   kind = "array"
)

func kindOf(v Value) kind {
	switch v[0] {
	case 'n':
		return kindNull
	case 't', 'f':
		return kindBoolean
	case '"':
		return kindString
	case '{':
		return kindObject
	case '[':
		return kindArray
	}
	return kindNumber
}

// article returns the kind as a part of a sentence.
func article(k kind) string {
	switch k {
	case kindNull:
		return "null"
	case kindObject, kindArray:
		return "an " + string(k)
	case kindBoolean, kindNumber, kindString:
	}
	return "a " + string(k)
}
