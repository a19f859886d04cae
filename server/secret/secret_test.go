package secret_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

const value = "the-secret-value"

// TestNeverPrinted tries every way that a value usually gets into a log.
func TestNeverPrinted(t *testing.T) {
	s := secret.New(value)
	type config struct {
		Secret  secret.Secret            `json:"secret" yaml:"secret"`
		Pointer *secret.Secret           `json:"pointer" yaml:"pointer"`
		Map     map[string]secret.Secret `json:"map" yaml:"map"`
	}
	c := config{Secret: s, Pointer: &s, Map: map[string]secret.Secret{"key": s}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%10.3s"} {
		fmt.Fprintf(&out, verb+verb+verb+"\n", s, &s, c)
	}
	fmt.Fprintln(&out, s, fmt.Errorf("wrapped: %v", c))
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("configured", "secret", s, "pointer", &s, "config", c)
	}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(asJSON)
	out.Write(asYAML)
	for _, form := range []string{value, fmt.Sprintf("%x", value), fmt.Sprintf("%X", value)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the secret was printed:\n%s", out.String())
		}
	}
	if !strings.Contains(out.String(), "[secret]") {
		t.Error("no placeholder was printed")
	}
}

func TestEqual(t *testing.T) {
	s := secret.New(value)
	for candidate, want := range map[string]bool{value: true, value + "x": false, value[1:]: false, "": false, strings.ToUpper(value): false} {
		if s.Equal(candidate) != want {
			t.Errorf("Equal(%q) is %t", candidate, !want)
		}
	}
	if s.IsZero() || !(secret.Secret{}).IsZero() {
		t.Error("IsZero is wrong")
	}
	if s.Reveal() != value {
		t.Errorf("Reveal returns %q", s.Reveal())
	}
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("A_SECRET", value)
	t.Setenv("AN_EMPTY_SECRET", "")
	for _, test := range []struct {
		name, ref, want, err string
	}{
		{"environment", "env:A_SECRET", value, ""},
		{"environment, not set", "env:NO_SUCH_SECRET", "", "NO_SUCH_SECRET is empty or not set"},
		{"environment, empty", "env:AN_EMPTY_SECRET", "", "AN_EMPTY_SECRET is empty or not set"},
		{"file", "file:" + write("plain", value), value, ""},
		{"file with a line end", "file:" + write("line", value+"\r\n"), value, ""},
		{"file with space", "file:" + write("space", " a:b \n"), " a:b ", ""},
		{"file, empty", "file:" + write("empty", "\n"), "", "is empty"},
		{"file, missing", "file:" + filepath.Join(dir, "none"), "", "read a secret"},
		{"no name", "env:", "", "env:NAME or file:PATH"},
		{"nothing", "", "", "env:NAME or file:PATH"},
		{"the value itself", value, "", "env:NAME or file:PATH"},
		{"a value with a colon", "plain:" + value, "", "env:NAME or file:PATH"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := secret.Resolve(test.ref)
			if test.err == "" {
				if err != nil || s.Reveal() != test.want {
					t.Errorf("the secret is %q, the error %v", s.Reveal(), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), value) {
				t.Errorf("the error is %v, want %q and no value", err, test.err)
			}
			if !s.IsZero() {
				t.Error("there is a secret beside the error")
			}
		})
	}
}

func TestResolveMissingFileIsNotExist(t *testing.T) {
	_, err := secret.Resolve("file:" + filepath.Join(t.TempDir(), "none"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the error is %v", err)
	}
}

func TestUnmarshalText(t *testing.T) {
	t.Setenv("A_SECRET", value)
	var config struct {
		Secret secret.Secret            `yaml:"secret"`
		Map    map[string]secret.Secret `yaml:"map"`
	}
	if err := yaml.Unmarshal([]byte("secret: env:A_SECRET\nmap: {key: env:A_SECRET}\n"), &config); err != nil {
		t.Fatal(err)
	}
	if !config.Secret.Equal(value) || !config.Map["key"].Equal(value) {
		t.Error("the secret was not read")
	}
	err := yaml.Unmarshal([]byte("\nsecret: "+value+"\n"), &config)
	if err == nil || strings.Contains(err.Error(), value) {
		t.Errorf("the error is %v, want one without the value", err)
	}
}
