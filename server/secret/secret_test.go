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
	environ := []string{"A_SECRET_TOO=x", "A_SECRET=" + value, "AN_EMPTY_SECRET=", "WITH_SIGN=a=b"}
	t.Setenv("OF_THE_PROCESS", value) // only what is given is looked into
	for _, test := range []struct {
		name, ref, want, err string
	}{
		{"environment", "env:A_SECRET", value, ""},
		{"environment, with a sign", "env:WITH_SIGN", "a=b", ""},
		{"environment of the process", "env:OF_THE_PROCESS", "", "OF_THE_PROCESS is empty or not set"},
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
			s, err := secret.Resolve(test.ref, environ)
			if test.err == "" {
				if err != nil || s.Reveal() != test.want {
					t.Errorf("the secret is %q, the error %v", s.Reveal(), err)
				}
				if got := fmt.Sprint(s); got != test.ref {
					t.Errorf("it is printed as %s, want %s", got, test.ref)
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
	_, err := secret.Resolve("file:"+filepath.Join(t.TempDir(), "none"), nil)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the error is %v", err)
	}
}

func TestUnmarshalReads(t *testing.T) {
	type config struct {
		Secret secret.Secret            `yaml:"secret"`
		Map    map[string]secret.Secret `yaml:"map"`
		None   secret.Secret            `yaml:"none"`
	}
	var c config
	const text = "secret: env:A_SECRET\nmap: {key: env:A_SECRET}\n"
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	if !c.Secret.IsUnread() || !c.Secret.IsZero() || !c.Map["key"].IsUnread() {
		t.Error("the value was read while the text was parsed")
	}
	if err := c.Secret.Read([]string{"A_SECRET=" + value}); err != nil || !c.Secret.Equal(value) || c.Secret.IsUnread() {
		t.Errorf("the secret was not read: %v", err)
	}
	if err := c.Secret.Read(nil); err == nil {
		t.Error("a variable that is not set was read")
	}

	printed, err := yaml.Marshal(c)
	if err != nil || strings.Contains(string(printed), value) {
		t.Errorf("printed: %v\n%s", err, printed)
	}
	var again config
	if err := yaml.Unmarshal(printed, &again); err != nil || fmt.Sprint(again) != fmt.Sprint(c) {
		t.Errorf("what is printed is read as %v, %v", again, err)
	}

	err = yaml.Unmarshal([]byte("\nsecret: "+value+"\n"), &c)
	if err == nil || strings.Contains(err.Error(), value) {
		t.Errorf("the error is %v, want one without the value", err)
	}
}
