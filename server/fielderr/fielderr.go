// Package fielderr is what is wrong with one field of a request or of the
// configuration: the path of the field and a message that says what to do.
//
// A package names the field as it knows it; whoever embeds it puts the path of
// the section in front with In.
package fielderr

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Error is a problem of one field.
type Error struct {
	// Path of the field, such as `filters[0].client_ids[2]`. Empty for the whole.
	Path string
	// Message says what is wrong and what to give instead. It never holds a secret.
	Message string
}

func (e *Error) Error() string {
	if e.Path == "" {
		return e.Message
	}
	return e.Path + ": " + e.Message
}

// New returns an *Error.
func New(path, format string, args ...any) error {
	return &Error{Path: path, Message: fmt.Sprintf(format, args...)}
}

// In returns an error with the path of a section in front of the path of every
// *Error in it. Errors joined with errors.Join stay apart; one that is no *Error
// becomes one of the section. It returns nil for nil.
func In(section string, err error) error {
	all := All(err)
	prefixed := make([]error, len(all))
	for i, e := range all {
		prefixed[i] = &Error{Path: join(section, e.Path), Message: e.Message}
	}
	return errors.Join(prefixed...)
}

// All returns every problem that an error names, in order. What is no *Error is
// one without a path.
func All(err error) []*Error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if field, ok := e.(*Error); ok { //nolint:errorlint // looks at this very level
			return []*Error{field}
		}
		if joined, ok := e.(interface{ Unwrap() []error }); ok {
			var all []*Error
			for _, one := range joined.Unwrap() {
				all = append(all, All(one)...)
			}
			return all
		}
	}
	if err == nil {
		return nil
	}
	return []*Error{{Message: err.Error()}}
}

// Duration returns a duration as requests give it, in seconds.
func Duration(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}

// Key returns a name that users choose, such as the key of a map, as an element of
// a path: as it is if it is plain, and quoted otherwise.
func Key(name string) string {
	for _, r := range name {
		if r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return strconv.Quote(name)
		}
	}
	if name == "" || !utf8.ValidString(name) {
		return strconv.Quote(name)
	}
	return name
}

func join(section, path string) string {
	if path == "" || strings.HasPrefix(path, "[") || section == "" {
		return section + path
	}
	return section + "." + path
}
