package server

import (
	"encoding"
	"reflect"
	"strings"
)

// A key is a leaf of the configuration: what one line of YAML, or one
// environment variable, sets.
type key struct {
	// Path is the key with its parents, such as `listen.grpc`.
	path string
	// Value is where it is set.
	value reflect.Value
}

// keys returns the leaves of a configuration struct in the order of its fields.
// v is addressable.
func keys(v reflect.Value) []key {
	return appendKeys(nil, "", v)
}

func appendKeys(list []key, path string, v reflect.Value) []key {
	if !isSection(v.Type()) {
		return append(list, key{path: path, value: v})
	}
	for _, field := range fields(v.Type()) {
		list = appendKeys(list, join(path, field.name), v.FieldByIndex(field.index))
	}
	return list
}

// A field is a key of a section.
type field struct {
	name  string
	index []int
	typ   reflect.Type
}

// fields returns the keys of a section, by the yaml tags of the struct.
func fields(t reflect.Type) []field {
	var list []field
	for _, f := range reflect.VisibleFields(t) {
		if !f.IsExported() || len(f.Index) > 1 {
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case name == "-":
		case options == "inline":
			for _, inner := range fields(f.Type) {
				inner.index = append(append([]int{}, f.Index...), inner.index...)
				list = append(list, inner)
			}
		default:
			list = append(list, field{name: name, index: f.Index, typ: f.Type})
		}
	}
	return list
}

// isSection reports whether a type is a struct with keys, and not a value with a
// text form of its own.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// nearest returns the known name that is most like an unknown one, or "" if none
// is.
func nearest(unknown string, known []string) string {
	best, bestDistance := "", 1+len(unknown)/3
	for _, name := range known {
		if d := distance(unknown, name); d <= bestDistance && (best == "" || d < bestDistance) {
			best, bestDistance = name, d
		}
	}
	return best
}

// distance is the number of bytes to insert, remove or replace to turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
