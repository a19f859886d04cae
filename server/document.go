package server

import (
	"encoding"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// A checker compares a YAML document with the type that it is loaded into. What
// does not fit is a problem, and is taken out of the document, so that the rest
// can be loaded.
//
// NOTE: the errors of the YAML package name Go types and quote what does not fit,
// which may be a secret at a place where none belongs. So none of them that is
// about a value is passed on.
type checker struct {
	// Place names a line, as each problem begins.
	place    func(line int) string
	problems []error
	// Doubtful are the paths of the values that do not fit.
	doubtful []string
	// Mappings are all that were checked, misfits the names of keys in them that do
	// not fit. A mapping that is used twice is checked twice before it is changed.
	mappings []*yaml.Node
	misfits  map[*yaml.Node]bool
	// Emptied are the texts in lists that do not fit. They keep their place, so that what
	// is said of the others has the right number.
	emptied []*yaml.Node
	// Merging are those whose keys are being taken over by others.
	merging map[*yaml.Node]bool
	// Empty: there is no document.
	empty bool
}

// checkAndLoad loads a text of one YAML document, or none, into what target points
// to. Path is the key that the target has.
func checkAndLoad(target any, text []byte, path string, place func(line int) string) *checker {
	c := &checker{place: place, misfits: make(map[*yaml.Node]bool), merging: make(map[*yaml.Node]bool)}
	var documents []yaml.Node
	if err := yaml.Load(text, &documents, yaml.WithAllDocuments()); err != nil {
		c.reportYAML(path, err)
		return c
	}
	switch {
	case len(documents) == 0:
		c.empty = true
		return c
	case len(documents) > 1:
		c.report(documents[1].Line, path, "one YAML document is expected, this begins another")
		return c
	}
	if !c.check(&documents[0], reflect.TypeOf(target).Elem(), path) {
		return c
	}
	c.removeMisfits()
	if err := documents[0].Load(target); err != nil && len(c.problems) == 0 {
		c.reportYAML(path, err)
	}
	return c
}

func (c *checker) report(line int, path, format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf("%s: %w", c.place(line), fielderr.New(path, format, args...)))
	c.doubtful = append(c.doubtful, path)
}

// reportYAML reports an error of the YAML package, one problem for each line.
func (c *checker) reportYAML(path string, err error) {
	var all *yaml.LoadErrors
	if !errors.As(err, &all) {
		var one *yaml.LoadError
		if !errors.As(err, &one) {
			c.report(1, path, "the YAML cannot be read")
			return
		}
		all = &yaml.LoadErrors{Errors: []*yaml.LoadError{one}}
	}
	for _, e := range all.Errors {
		message := e.Message
		switch {
		case strings.Contains(message, "cannot start any token"):
			message = "a value begins here with a tab or with @, %, or another sign that YAML keeps for itself: indent by spaces, and put such a text in quotes"
		case strings.HasPrefix(message, "unknown anchor"):
			message = "an alias (*name) names no anchor: put a text that begins with * in quotes"
		case strings.ContainsAny(message, "`\"") || strings.Contains(message, "go-yaml") || strings.Contains(message, " into "):
			message = "a value of another kind is expected"
		}
		c.report(e.Mark.Line, path, "%s", message)
	}
}

// check reports whether a node fits a type. What does not is a problem by then.
func (c *checker) check(node *yaml.Node, t reflect.Type, path string) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case node.Kind == yaml.DocumentNode:
		return c.check(node.Content[0], t, path)
	case node.Kind == yaml.AliasNode:
		return c.check(node.Alias, t, path)
	case node.ShortTag() == "!!null":
		return true // as if the key were not there
	case isSection(t) || t.Kind() == reflect.Map:
		return c.checkMapping(node, t, path)
	case t.Kind() == reflect.Slice:
		return c.checkList(node, t, path)
	}
	return c.checkValue(node, t, path)
}

// checkMapping checks each value of a mapping. It fits without those that do not.
func (c *checker) checkMapping(node *yaml.Node, t reflect.Type, path string) bool {
	if node.Kind != yaml.MappingNode {
		c.report(node.Line, path, "must be %s", kindOf(t))
		return false
	}
	lines := make(map[string]int)
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		ok := false
		switch line := lines[name.Value]; {
		case name.Kind != yaml.ScalarNode:
			c.report(name.Line, path, "the name of a key must be a text")
		case name.Value == "<<":
			ok = c.checkMerge(value, t, path)
		case line > 0:
			c.report(name.Line, join(path, fielderr.Key(name.Value)), "the key is there twice, first in line %d", line)
		default:
			lines[name.Value] = name.Line
			ok = c.checkPair(name, value, t, path)
		}
		if !ok {
			c.misfits[name] = true
		}
	}
	c.mappings = append(c.mappings, node)
	return true
}

func (c *checker) removeMisfits() {
	for _, node := range c.emptied {
		*node = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Line: node.Line, Column: node.Column}
	}
	for _, node := range c.mappings {
		var fitting []*yaml.Node
		for i := 0; i+1 < len(node.Content); i += 2 {
			if !c.misfits[node.Content[i]] {
				fitting = append(fitting, node.Content[i], node.Content[i+1])
			}
		}
		node.Content = fitting
	}
}

// checkMerge checks what a mapping takes over from others.
func (c *checker) checkMerge(node *yaml.Node, t reflect.Type, path string) bool {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if c.merging[node] {
		c.report(node.Line, path, "the mapping takes over itself (<<)")
		return false
	}
	c.merging[node] = true
	defer delete(c.merging, node)
	if node.Kind != yaml.SequenceNode {
		return c.checkMapping(node, t, path)
	}
	ok := true
	for _, child := range node.Content {
		ok = c.checkMerge(child, t, path) && ok
	}
	return ok
}

func (c *checker) checkPair(name, value *yaml.Node, t reflect.Type, path string) bool {
	if t.Kind() == reflect.Map {
		return c.check(value, t.Elem(), join(path, fielderr.Key(name.Value)))
	}
	known := fields(t)
	names := make([]string, len(known))
	for i, f := range known {
		names[i] = f.name
		if f.name == name.Value {
			return c.check(value, f.typ, join(path, f.name))
		}
	}
	unknown := join(path, fielderr.Key(name.Value))
	if like := nearest(name.Value, names); like != "" {
		meant := join(path, like)
		c.report(name.Line, unknown, "unknown key: did you mean %s?", meant)
		c.doubtful = append(c.doubtful, meant)
	} else {
		c.report(name.Line, unknown, "unknown key: known here are %s", strings.Join(names, ", "))
	}
	return false
}

func (c *checker) checkList(node *yaml.Node, t reflect.Type, path string) bool {
	if node.Kind != yaml.SequenceNode {
		c.report(node.Line, path, "must be %s", kindOf(t))
		return false
	}
	ok := true
	for i, child := range node.Content {
		switch {
		case c.check(child, t.Elem(), path+"["+strconv.Itoa(i)+"]"):
		case t.Elem().Kind() == reflect.String:
			c.emptied = append(c.emptied, child)
		default:
			ok = false
		}
	}
	return ok
}

func (c *checker) checkValue(node *yaml.Node, t reflect.Type, path string) bool {
	value := reflect.New(t).Interface()
	text, ok := value.(encoding.TextUnmarshaler)
	switch {
	case ok && t != reflect.TypeFor[slog.Level]():
		// A node of another kind has the empty text, whose error is as good.
		if err := text.UnmarshalText([]byte(node.Value)); err != nil {
			c.report(node.Line, path, "%v", err)
			return false
		}
	case node.Kind != yaml.ScalarNode:
		c.report(node.Line, path, "must be %s", kindOf(t))
		return false
	case node.Load(value) != nil:
		c.report(node.Line, path, "must be %s, not %q", kindOf(t), node.Value)
		return false
	}
	return true
}

// kindOf returns what a value of a type looks like to who writes it.
func kindOf(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "a duration such as 30s or 720h"
	case reflect.TypeFor[slog.Level]():
		return "debug, info, warn or error"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Uint64:
		return "a whole number, 0 or more"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "a text"
	case reflect.Slice:
		return "a list such as [a, b]"
	case reflect.Map:
		return "a mapping such as {name: ...}"
	case reflect.Struct:
		var names []string
		for _, f := range fields(t) {
			names = append(names, f.name)
		}
		return "a mapping with the keys " + strings.Join(names, ", ")
	default:
		return "another value"
	}
}
