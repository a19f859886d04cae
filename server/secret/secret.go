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

// Secret is a secret value. Its zero value is no secret. Every way of printing
// it shows a placeholder.
type Secret struct{ value string }

// New returns a secret with a value that came from a safe place.
func New(value string) Secret { return Secret{value: value} }

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.value == "" }

// Reveal returns the value.
func (s Secret) Reveal() string { return s.value }

// Equal compares in constant time.
func (s Secret) Equal(candidate string) bool {
	return subtle.ConstantTimeCompare([]byte(s.value), []byte(candidate)) == 1
}

// Format writes a placeholder, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte("[secret]")) // the printer keeps its own error
}

// MarshalText returns a placeholder, for encoders and slog; nothing for no secret.
func (s Secret) MarshalText() ([]byte, error) {
	if s.IsZero() {
		return nil, nil
	}
	return []byte("[secret]"), nil
}

// UnmarshalText resolves a reference to a secret.
func (s *Secret) UnmarshalText(ref []byte) error {
	resolved, err := Resolve(string(ref))
	if err != nil {
		return err
	}
	*s = resolved
	return nil
}

// Resolve returns the secret that a reference names: `env:NAME` for an
// environment variable, `file:PATH` for the content of a file without the line
// end. Anything else is refused: a secret is not written where it is configured.
func Resolve(ref string) (Secret, error) {
	kind, name, _ := strings.Cut(ref, ":")
	switch {
	case name == "":
	case kind == "env":
		value := os.Getenv(name)
		if value == "" {
			return Secret{}, fmt.Errorf("the environment variable %s is empty or not set, and a secret is to be read from it", name)
		}
		return New(value), nil
	case kind == "file":
		value, err := os.ReadFile(name) //nolint:gosec // the operator names the file
		if err != nil {
			return Secret{}, fmt.Errorf("read a secret: %w", err)
		}
		value = bytes.TrimRight(value, "\r\n")
		if len(value) == 0 {
			return Secret{}, fmt.Errorf("the file %s is empty, and a secret is to be read from it", name)
		}
		return New(string(value)), nil
	}
	return Secret{}, errors.New("a secret is given as env:NAME or file:PATH, never as its value")
}
