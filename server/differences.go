package server

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// Difference is a value that one configuration has and another has not, or has
// otherwise.
type Difference struct {
	// Path of the value: a key, and what is within it where that has parts, such as
	// `providers.finicity.clients.acme.secrets.2027`.
	Path string
	// From and To are the two values as texts. Empty: it is not there.
	From, To string
	// Restart tells that only a restart puts To in force.
	Restart bool
}

// Differences compares a configuration that a gateway has printed, see ConfigPath, with
// another one, in the order of the keys. Secrets are compared by their references: their
// values are not printed.
func Differences(printed []byte, to Config) ([]Difference, error) {
	from, err := loadPrinted(printed)
	if err != nil {
		return nil, fmt.Errorf("understand the configuration in force, which may be that of a gateway of another version: %w", err)
	}
	text, err := yaml.Dump(to)
	if err != nil {
		return nil, fmt.Errorf("print the configuration: %w", err)
	}
	if to, err = loadPrinted(text); err != nil { // as the other: without the values of secrets
		return nil, err
	}
	before, after := valuesByKey(&from), valuesByKey(&to)
	var differences []Difference
	for _, change := range Changes(from, to) {
		old, err := parts(change.Key, before[change.Key])
		if err != nil {
			return nil, err
		}
		parts, err := parts(change.Key, after[change.Key])
		if err != nil {
			return nil, err
		}
		all := maps.Clone(old)
		maps.Copy(all, parts)
		for _, path := range slices.Sorted(maps.Keys(all)) {
			if old[path] != parts[path] {
				differences = append(differences, Difference{Path: path, From: old[path], To: parts[path], Restart: change.Restart})
			}
		}
	}
	return differences, nil
}

// loadPrinted loads a configuration that was printed. Its secrets are not read.
func loadPrinted(text []byte) (Config, error) {
	config := DefaultConfig()
	var l loader
	l.add("", checkAndLoad(&config, text, "", func(line int) string { return fmt.Sprintf("line %d", line) }))
	return config, errors.Join(l.problems...)
}

func valuesByKey(c *Config) map[string]reflect.Value {
	values := make(map[string]reflect.Value)
	for _, k := range keys(reflect.ValueOf(c).Elem()) {
		values[k.path] = k.value
	}
	return values
}

// parts returns the texts of a value by their paths. A list of texts is one text.
func parts(path string, v reflect.Value) (map[string]string, error) {
	text, err := yaml.Dump(v.Interface())
	if err != nil {
		return nil, fmt.Errorf("print %s: %w", path, err)
	}
	var node yaml.Node
	if err := yaml.Load(text, &node); err != nil {
		return nil, fmt.Errorf("print %s: %w", path, err)
	}
	texts := make(map[string]string)
	addParts(texts, path, &node)
	return texts, nil
}

func addParts(texts map[string]string, path string, node *yaml.Node) {
	isScalar := func(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode }
	switch {
	case node.Kind == yaml.DocumentNode:
		addParts(texts, path, node.Content[0])
	case node.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			addParts(texts, join(path, fielderr.Key(node.Content[i].Value)), node.Content[i+1])
		}
	case node.Kind == yaml.SequenceNode && len(node.Content) > 0 && !slices.ContainsFunc(node.Content, func(n *yaml.Node) bool { return !isScalar(n) }):
		var list []string
		for _, child := range node.Content {
			list = append(list, child.Value)
		}
		texts[path] = "[" + strings.Join(list, ", ") + "]"
	case node.Kind == yaml.SequenceNode:
		for i, child := range node.Content {
			addParts(texts, path+"["+strconv.Itoa(i)+"]", child)
		}
	case isScalar(node) && node.ShortTag() != "!!null":
		texts[path] = node.Value
	}
}
