// Package secret keeps secrets out of configuration files, logs and errors.
package secret

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"os"
	"strings"
)

// placeholder stands for a value that has no reference.
const placeholder = "[secret]"

// Secret is a secret value and the reference that it was read from, if any. Its
// zero value is no secret. Every way of printing it shows the reference, or a
// placeholder, and never the value.
type Secret struct{ reference, value string }

// New returns a secret with a value that came from a safe place.
func New(value string) Secret { return Secret{value: value} }

// Parse returns a secret that is yet to be read, by its reference: `env:NAME` for
// an environment variable, `file:PATH` for the content of a file without the line
// end. Anything else is refused: a secret is not written where it is configured.
func Parse(reference string) (Secret, error) {
	kind, name, _ := strings.Cut(reference, ":")
	if name == "" || kind != "env" && kind != "file" {
		return Secret{}, errors.New("a secret is given as env:NAME or file:PATH, never as its value")
	}
	return Secret{reference: reference}, nil
}

// Resolve parses a reference and reads the secret.
func Resolve(reference string, environ []string) (Secret, error) {
	s, err := Parse(reference)
	if err != nil {
		return Secret{}, err
	}
	if err := s.Read(environ); err != nil {
		return Secret{}, err
	}
	return s, nil
}

// Read reads the value of a secret that has a reference, from the environment, in
// the form of os.Environ, or from a file. An empty value is an error.
func (s *Secret) Read(environ []string) error {
	kind, name, _ := strings.Cut(s.reference, ":")
	switch kind {
	case "env":
		value := lookup(environ, name)
		if value == "" {
			return fmt.Errorf("the environment variable %s is empty or not set, and a secret is to be read from it", name)
		}
		s.value = value
	case "file":
		value, err := os.ReadFile(name) //nolint:gosec // the operator names the file
		if err != nil {
			return fmt.Errorf("read a secret: %w", err)
		}
		value = bytes.TrimRight(value, "\r\n")
		if len(value) == 0 {
			return fmt.Errorf("the file %s is empty, and a secret is to be read from it", name)
		}
		s.value = string(value)
	}
	return nil
}

func lookup(environ []string, name string) string {
	for _, variable := range environ {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}

// IsZero reports whether there is no value.
func (s Secret) IsZero() bool { return s.value == "" }

// IsUnread reports whether there is a reference whose value was not read.
func (s Secret) IsUnread() bool { return s.reference != "" && s.value == "" }

// minBytes is the shortest value that is not guessed within the lifetime of a
// deployment.
const minBytes = 8

// Check returns what is wrong with the value, if it is to protect something: it must
// have 8 bytes or more.
func (s Secret) Check() error {
	switch {
	case s.IsZero():
		return errors.New("the secret is empty")
	case len(s.value) < minBytes:
		return fmt.Errorf("the secret has less than %d bytes, and could be guessed", minBytes)
	}
	return nil
}

// File returns the path of the file that the value is read from, if it is.
func (s Secret) File() (path string, ok bool) { return strings.CutPrefix(s.reference, "file:") }

// Reveal returns the value.
func (s Secret) Reveal() string { return s.value }

// Equal compares in constant time.
func (s Secret) Equal(candidate string) bool {
	return subtle.ConstantTimeCompare([]byte(s.value), []byte(candidate)) == 1
}

// Format writes the reference or a placeholder, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) {
	text := s.reference
	if text == "" {
		text = placeholder
	}
	_, _ = f.Write([]byte(text)) // the printer keeps its own error
}

// MarshalText returns the reference or a placeholder, for encoders and slog;
// nothing for no secret.
func (s Secret) MarshalText() ([]byte, error) {
	if s == (Secret{}) {
		return nil, nil
	}
	return []byte(fmt.Sprint(s)), nil
}

// MarshalYAML is MarshalText, and null for no secret: an empty text is no reference.
func (s Secret) MarshalYAML() (any, error) {
	if s == (Secret{}) {
		return nil, nil //nolint:nilnil // null
	}
	return fmt.Sprint(s), nil
}

// UnmarshalText parses a reference. The value is yet to be read.
func (s *Secret) UnmarshalText(reference []byte) error {
	parsed, err := Parse(string(reference))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}
