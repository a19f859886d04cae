package server

import (
	"regexp"
	"strings"
	"testing"
)

// FuzzLoad checks that any text is either loaded or refused in words of the
// configuration: every line has its place, and no Go type is named. What was
// loaded is a configuration in which Validate finds its way.
func FuzzLoad(f *testing.F) {
	for _, text := range []string{
		valid, "listen: &a {http: x}\nstore: *a\n", "log: {<<: [{format: json}, {level: x}]}\n", "listen: &x {<<: *x}\n",
		"providers: {finicity: {clients: {a: {secrets: {b: !!int c}, verification: x, required_header: []}}}}\n",
		"webhooks: {max_body_bytes: 1e9, trusted_proxies: [1, ~], rate_limit: {burst: .inf, requests_per_second: .nan}}\n",
		"---\n---\n", "? [a]\n: b\n", "\"\": x\n", "shutdown: {timeout: \"1s\\n2s\"}\n",
	} {
		f.Add(text)
	}
	place := regexp.MustCompile(`^FILE: .`)
	f.Fuzz(func(t *testing.T, text string) {
		config := DefaultConfig()
		found := checkAndLoad(&config, []byte(text), "", func(int) string { return "FILE" })
		for _, problem := range found.problems {
			if line := problem.Error(); !place.MatchString(line) || strings.Contains(line, "\n") {
				t.Errorf("the problem %q is no line of its own", line)
			}
			if line := problem.Error(); strings.Contains(line, "cannot construct") || strings.Contains(line, "go-yaml") {
				t.Errorf("the problem %q is one of the YAML package", line)
			}
		}
		if len(found.problems) != 0 && len(found.doubtful) == 0 {
			t.Error("there are problems, and nothing is doubtful")
		}
		_ = config.Validate()
	})
}
