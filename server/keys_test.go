package server

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

// Every key is set by its variable, whatever its type.
func TestEveryKeyIsSetByTheEnvironment(t *testing.T) {
	for _, k := range keys(reflect.ValueOf(new(DefaultConfig())).Elem()) {
		text, want := sample(t, k)
		config := DefaultConfig()
		if err := config.Override("", []string{envName(k.path) + "=" + text, "TEST_SECRET=s"}); err != nil {
			t.Errorf("%s=%s: %v", envName(k.path), text, err)
			continue
		}
		for _, other := range keys(reflect.ValueOf(&config).Elem()) {
			if got := fmt.Sprint(other.value.Interface()); other.path == k.path && got != want {
				t.Errorf("%s=%s sets %s to %s", envName(k.path), text, k.path, got)
			}
		}
	}
	seen := make(map[string]bool)
	for _, name := range EnvNames() {
		if seen[name] {
			t.Errorf("two keys have the variable %s", name)
		}
		seen[name] = true
	}
}

// sample returns a value for a key that is not its default, as text and as Go
// prints it.
func sample(t *testing.T, k key) (text, printed string) {
	t.Helper()
	switch k.value.Interface().(type) {
	case time.Duration:
		return "77m", "1h17m0s"
	case provider.Mode:
		return "report", "report"
	case secret.Secret:
		return "env:TEST_SECRET", "env:TEST_SECRET"
	case map[string]access.Token:
		return "{a: {sha256: b}}", "map[a:{b [] 0001-01-01 00:00:00 +0000 UTC}]"
	case map[string]access.GrantConfig:
		return "{a: {operator: true}}", "map[a:{[] [] [] [] true}]"
	case []access.Identity:
		return "[{claim: a}]", "[{a  []}]"
	case []access.Certificate:
		return "[{dns: a}]", "[{ a  []}]"
	case map[string]finicity.ClientConfig:
		return "{a: {verification: off}}", "map[a:{map[] off <nil>}]"
	}
	switch k.value.Kind() {
	case reflect.String:
		return "x: [y", "x: [y"
	case reflect.Bool:
		return "true", "true" // no key is true by default
	case reflect.Slice:
		return "[a, b]", "[a b]"
	case reflect.Float64:
		return "1.5", "1.5"
	default:
		if k.path == "log.level" {
			return "warn", "WARN"
		}
		return "77", "77"
	}
}

// docs/configuration.md has a row for every key, with its default and meaning,
// and none for anything else.
func TestEveryKeyIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string][]string)
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 4 && strings.HasPrefix(line, "| `") {
			documented[strings.Trim(cells[1], " `")] = cells
		}
	}
	for _, k := range keys(reflect.ValueOf(new(DefaultConfig())).Elem()) {
		cells, ok := documented[k.path]
		delete(documented, k.path)
		fallback, err := yaml.Dump(k.value.Interface())
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case !ok:
			t.Errorf("the key %s is not documented", k.path)
		case strings.TrimSpace(cells[3]) == "":
			t.Errorf("the key %s has no meaning", k.path)
		case k.value.Kind() != reflect.Slice && k.value.Kind() != reflect.Map && k.value.Kind() != reflect.Struct:
			if want := "`" + strings.TrimSpace(string(fallback)) + "`"; strings.TrimSpace(cells[2]) != want {
				t.Errorf("the key %s is documented with the default %s, it has %s", k.path, cells[2], want)
			}
		}
	}
	for path := range documented {
		t.Errorf("the documented key %s does not exist", path)
	}
}
