package server

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// EnvPrefix begins the name of every environment variable that sets a key.
const EnvPrefix = "WEBHOOK_GATEWAY_"

// EnvConfig names the variable with the path of the configuration file, for
// commands that were given none.
const EnvConfig = EnvPrefix + "CONFIG"

// Load returns DefaultConfig, changed by a YAML file and then by the
// environment, in the form of os.Environ. An empty path reads no file.
//
// Nothing is guessed: an unknown or a repeated key is an error that names its
// line, and an unknown variable with EnvPrefix is one too. All problems are
// reported at once. The configuration returned is valid.
func Load(path string, environ []string) (Config, error) {
	config := DefaultConfig()
	if err := config.Override(path, environ); err != nil {
		return Config{}, err
	}
	if err := config.Validate(); err != nil {
		return Config{}, err
	}
	return config, nil
}

// Override changes a configuration as Load does. It does not validate it.
func (c *Config) Override(path string, environ []string) error { return load(c, path, environ) }

// load sets the keys of a configuration struct.
func load(config any, path string, environ []string) error {
	var problems []error
	if path != "" {
		text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
		if err != nil {
			return fmt.Errorf("read the configuration: %w", err)
		}
		problems = append(problems, loadYAML(config, path, text)...)
	}
	return errors.Join(append(problems, loadEnv(config, environ)...)...)
}

func loadYAML(config any, path string, text []byte) []error {
	var documents []yaml.Node
	if err := yaml.Load(text, &documents, yaml.WithAllDocuments()); err != nil {
		return problemsOf(path, err)
	}
	switch {
	case len(documents) == 0:
		return nil
	case len(documents) > 1:
		return []error{fmt.Errorf("%s:%d: one YAML document is expected, this begins another", path, documents[1].Line)}
	}
	checker := keyChecker{file: path}
	checker.check(&documents[0], reflect.TypeOf(config).Elem(), "")
	if err := documents[0].Load(config); err != nil {
		checker.problems = append(checker.problems, problemsOf(path, err)...)
	}
	return checker.problems
}

// problemsOf turns an error of the YAML package into one error for each line.
func problemsOf(file string, err error) []error {
	var all *yaml.LoadErrors
	if !errors.As(err, &all) {
		var one *yaml.LoadError
		if !errors.As(err, &one) {
			return []error{fmt.Errorf("%s: %w", file, err)}
		}
		all = &yaml.LoadErrors{Errors: []*yaml.LoadError{one}}
	}
	problems := make([]error, 0, len(all.Errors))
	for _, e := range all.Errors {
		message := strings.TrimPrefix(e.Message, fmt.Sprintf("line %d: ", e.Mark.Line))
		problems = append(problems, fmt.Errorf("%s:%d: %s", file, e.Mark.Line, message))
	}
	return problems
}

// A keyChecker finds the keys of a document that its type does not have.
type keyChecker struct {
	file     string
	problems []error
}

func (c *keyChecker) check(node *yaml.Node, t reflect.Type, path string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch node.Kind {
	case yaml.DocumentNode:
		for _, child := range node.Content {
			c.check(child, t, path)
		}
	case yaml.AliasNode:
		c.check(node.Alias, t, path)
	case yaml.SequenceNode:
		if t.Kind() == reflect.Slice {
			for _, child := range node.Content {
				c.check(child, t.Elem(), path)
			}
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			c.checkPair(node.Content[i], node.Content[i+1], t, path)
		}
	case yaml.ScalarNode, yaml.StreamNode:
	}
}

func (c *keyChecker) checkPair(name, value *yaml.Node, t reflect.Type, path string) {
	switch {
	case name.Value == "<<":
		c.check(value, t, path)
	case t.Kind() == reflect.Map:
		c.check(value, t.Elem(), join(path, name.Value))
	case isSection(t):
		known := fields(t)
		names := make([]string, len(known))
		for i, f := range known {
			names[i] = f.name
			if f.name == name.Value {
				c.check(value, f.typ, join(path, f.name))
				return
			}
		}
		problem := fmt.Sprintf("%s:%d: unknown key %s", c.file, name.Line, join(path, name.Value))
		if like := nearest(name.Value, names); like != "" {
			problem += fmt.Sprintf(": did you mean %s?", join(path, like))
		} else {
			problem += ": known here are " + strings.Join(names, ", ")
		}
		c.problems = append(c.problems, errors.New(problem))
	}
}

// EnvNames returns the variables that set keys, in the order of the keys.
func EnvNames() []string {
	var names []string
	for _, k := range keys(reflect.ValueOf(&Config{}).Elem()) {
		names = append(names, envName(k.path))
	}
	return names
}

// envName returns the variable that sets a key.
func envName(path string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// injected matches the variables that Kubernetes and Docker set in every
// container for a service named webhook-gateway.
var injected = regexp.MustCompile(`^` + EnvPrefix + `(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=|^` +
	EnvPrefix + `(\w+_)?PORT=(tcp|udp|sctp)://`)

func loadEnv(config any, environ []string) []error {
	byName := make(map[string]key)
	for _, k := range keys(reflect.ValueOf(config).Elem()) {
		byName[envName(k.path)] = k
	}
	var problems []error
	for _, variable := range slices.Sorted(slices.Values(environ)) {
		name, text, _ := strings.Cut(variable, "=")
		k, known := byName[name]
		switch {
		case !strings.HasPrefix(name, EnvPrefix), name == EnvConfig:
		case known:
			if err := setKey(k, text); err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", name, err))
			}
		case injected.MatchString(variable):
		default:
			problems = append(problems, unknownVariable(name, byName))
		}
	}
	return problems
}

func unknownVariable(name string, known map[string]key) error {
	names := slices.Sorted(func(yield func(string) bool) {
		for n := range known {
			if !yield(n) {
				return
			}
		}
	})
	if like := nearest(name, names); like != "" {
		return fmt.Errorf("%s sets no key: did you mean %s?", name, like)
	}
	return fmt.Errorf("%s sets no key: names with the prefix %s are reserved for keys, so name a variable for anything else, "+
		"a secret for instance, without it; `webhook-gateway config print --env` lists them", name, EnvPrefix)
}

// setKey replaces the value of a key by a text: as it is for a string, and as
// YAML for anything else, so that lists and maps are given in flow style.
func setKey(k key, text string) error {
	if k.value.Kind() == reflect.String {
		k.value.SetString(text)
		return nil
	}
	value := reflect.New(k.value.Type())
	var documents []yaml.Node
	if err := yaml.Load([]byte(text), &documents, yaml.WithAllDocuments()); err != nil {
		return errors.Join(problemsOf("value", err)...)
	}
	if len(documents) != 1 {
		return errors.New("one YAML value is expected")
	}
	checker := keyChecker{file: "value"}
	checker.check(&documents[0], value.Type(), k.path)
	if err := documents[0].Load(value.Interface()); err != nil {
		checker.problems = append(checker.problems, problemsOf("value", err)...)
	}
	if len(checker.problems) > 0 {
		return errors.Join(checker.problems...)
	}
	k.value.Set(value.Elem())
	return nil
}
