package main

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// A document is an OpenAPI document, or an object in it, as JSON has it.
type document = map[string]any

// merge puts documents into one: the paths and schemas of all, and the rest of the
// first.
func merge(documents map[string]document, names ...string) (document, error) {
	var merged document
	for _, name := range names {
		d, ok := documents[name]
		if !ok {
			return nil, fmt.Errorf("there is no document for %s, but for %v", name, slices.Sorted(maps.Keys(documents)))
		}
		if merged == nil {
			merged = d
			continue
		}
		merged["tags"] = append(merged["tags"].([]any), d["tags"].([]any)...)
		for _, path := range [][]string{{"paths"}, {"components", "schemas"}} {
			from, err := object(d, path...)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			to, err := object(merged, path...)
			if err != nil {
				return nil, err
			}
			for key, value := range from {
				if old, ok := to[key]; ok && !reflect.DeepEqual(old, value) {
					return nil, fmt.Errorf("%s has another %s than the files before it", name, key)
				}
				to[key] = value
			}
		}
	}
	return merged, nil
}

// object returns the object at a path of keys.
func object(d document, path ...string) (document, error) {
	for i, key := range path {
		inner, ok := d[key].(document)
		if !ok {
			return nil, fmt.Errorf("there is no object at %v", path[:i+1])
		}
		d = inner
	}
	return d, nil
}

// An operation is one method of one path.
type operation struct {
	document

	path, method string
}

// operations returns all operations, in the order of their paths.
func operations(d document) ([]operation, error) {
	paths, err := object(d, "paths")
	if err != nil {
		return nil, err
	}
	var list []operation
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		item, err := object(paths, path)
		if err != nil {
			return nil, err
		}
		for _, method := range slices.Sorted(maps.Keys(item)) {
			op, err := object(item, method)
			if err != nil {
				return nil, err
			}
			list = append(list, operation{document: op, path: path, method: method})
		}
	}
	return list, nil
}
