package all

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// SetField changes one field of a JSON body, as `path=value` says, and leaves every
// other byte's meaning and order as it is. The path names objects and elements of lists,
// such as payload.accounts.0.name. The value is a text where the body has a text or
// nothing, and JSON where it has anything else; after := it is JSON.
func SetField(body []byte, assignment string) ([]byte, error) {
	path, value, ok := strings.Cut(assignment, "=")
	path, isJSON := strings.CutSuffix(path, ":")
	if !ok || path == "" {
		return nil, fmt.Errorf("%q: give a field and its value, such as payload.institutionId=100001", assignment)
	}
	if !jsontext.Value(body).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
		return nil, fmt.Errorf("%s: the body is no JSON, so it has no fields", path)
	}
	changed, err := setIn(body, strings.Split(path, "."), func(old jsontext.Value) (jsontext.Value, error) {
		if isJSON || old != nil && old.Kind() != '"' {
			given := jsontext.Value(value)
			if !given.IsValid() {
				return nil, fmt.Errorf("%q is no JSON: a text there is '%s:=\"…\"'", value, path)
			}
			return given, nil
		}
		return json.Marshal(value)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return changed, nil
}

// setIn changes the value at a path in a JSON text. What is nil does not exist.
func setIn(text jsontext.Value, path []string, change func(old jsontext.Value) (jsontext.Value, error)) (jsontext.Value, error) {
	if len(path) == 0 {
		return change(text)
	}
	if text == nil {
		text = jsontext.Value("{}")
	}
	kind := text.Kind()
	if kind != '{' && kind != '[' {
		return nil, fmt.Errorf("there is no %q in what is no object", path[0])
	}
	dec := jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	var elements []string
	found := false
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	for i := 0; dec.PeekKind() != '}' && dec.PeekKind() != ']'; i++ {
		name, here := "", strconv.Itoa(i) == path[0]
		if kind == '{' {
			token, err := dec.ReadToken()
			if err != nil {
				return nil, err
			}
			quoted, err := json.Marshal(token.String())
			if err != nil {
				return nil, err
			}
			name, here = string(quoted)+":", token.String() == path[0]
		}
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		if here {
			found = true
			if value, err = setIn(value, path[1:], change); err != nil {
				return nil, err
			}
		}
		elements = append(elements, name+string(value))
	}
	if kind == '[' {
		if !found {
			return nil, fmt.Errorf("there is no element %s in a list of %d", path[0], len(elements))
		}
		return jsontext.Value("[" + strings.Join(elements, ",") + "]"), nil
	}
	if !found {
		quoted, err := json.Marshal(path[0])
		if err != nil {
			return nil, err
		}
		value, err := setIn(nil, path[1:], change)
		if err != nil {
			return nil, err
		}
		elements = append(elements, string(quoted)+":"+string(value))
	}
	return jsontext.Value("{" + strings.Join(elements, ",") + "}"), nil
}
