package server

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

// EnvPrefix begins the name of every environment variable that sets a key.
const EnvPrefix = "WEBHOOK_GATEWAY_"

// EnvConfig names the variable with the path of the configuration file, for
// commands that were given none.
const EnvConfig = EnvPrefix + "CONFIG"

// Load returns DefaultConfig, changed by a YAML file and then by the
// environment, in the form of os.Environ. An empty path reads no file. Secrets are
// read from that environment too, or from their files.
//
// Nothing is guessed: an unknown or a repeated key is an error that names its
// line, and an unknown variable with EnvPrefix is one too. All problems are
// reported at once, but for those that may only follow from another. The
// configuration returned is valid.
func Load(path string, environ []string) (Config, error) {
	config := DefaultConfig()
	var l loader
	l.load(&config, path, environ)
	for _, problem := range fielderr.All(config.Validate()) {
		if !l.isDoubtful(problem.Path) {
			l.problems = append(l.problems, problem)
		}
	}
	if len(l.problems) > 0 {
		return Config{}, errors.Join(l.problems...)
	}
	return config, nil
}

// Override changes a configuration as Load does. It does not validate it.
func (c *Config) Override(path string, environ []string) error {
	var l loader
	l.load(c, path, environ)
	return errors.Join(l.problems...)
}

// A loader sets the keys of a configuration struct and collects what is wrong.
type loader struct {
	problems []error
	// Doubtful are the paths whose values were not set as somebody meant them.
	doubtful []string
}

func (l *loader) load(config any, path string, environ []string) {
	if path != "" {
		text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
		if err != nil {
			l.problems = append(l.problems, fmt.Errorf("read the configuration: %w", err))
			l.doubtful = append(l.doubtful, "")
			return
		}
		l.add("", checkAndLoad(config, text, "", func(line int) string { return fmt.Sprintf("%s:%d", path, line) }))
	}
	l.loadEnv(config, environ)
	l.readSecrets(config, environ)
}

// add takes over what was found at a path.
func (l *loader) add(path string, found *checker) {
	l.problems = append(l.problems, found.problems...)
	l.doubtful = append(l.doubtful, found.doubtful...)
	if len(found.problems) > 0 && len(found.doubtful) == 0 {
		l.doubtful = append(l.doubtful, path)
	}
}

// isDoubtful reports whether the value at a path depends on one that was not set.
func (l *loader) isDoubtful(path string) bool {
	return slices.ContainsFunc(l.doubtful, func(d string) bool { return isWithin(path, d) || isWithin(d, path) })
}

// isWithin reports whether a path is that of a section or of something in it.
func isWithin(path, section string) bool {
	rest, ok := strings.CutPrefix(path, section)
	return ok && (rest == "" || section == "" || rest[0] == '.' || rest[0] == '[')
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

func (l *loader) loadEnv(config any, environ []string) {
	byName := make(map[string]key)
	for _, k := range keys(reflect.ValueOf(config).Elem()) {
		byName[envName(k.path)] = k
	}
	for _, variable := range slices.Sorted(slices.Values(environ)) {
		name, text, _ := strings.Cut(variable, "=")
		k, known := byName[name]
		switch {
		case !strings.HasPrefix(name, EnvPrefix), name == EnvConfig:
		case known:
			l.add(k.path, setKey(k, name, text))
		case injected.MatchString(variable):
		default:
			l.problems = append(l.problems, unknownVariable(name, byName))
		}
	}
}

// readSecrets reads every secret of a configuration, now that it is known which
// ones there are.
func (l *loader) readSecrets(config any, environ []string) {
	eachSecret(reflect.ValueOf(config).Elem(), "", func(path string, s *secret.Secret) {
		if err := s.Read(environ); err != nil {
			l.problems = append(l.problems, fielderr.New(path, "%v", err))
			l.doubtful = append(l.doubtful, path)
		}
	})
}

func unknownVariable(name string, known map[string]key) error {
	var names []string // without what all begin with
	for n := range known {
		names = append(names, strings.TrimPrefix(n, EnvPrefix))
	}
	slices.Sort(names)
	if like := nearest(strings.TrimPrefix(name, EnvPrefix), names); like != "" {
		return fmt.Errorf("%s sets no key: did you mean %s?", name, EnvPrefix+like)
	}
	return fmt.Errorf("%s sets no key: names with the prefix %s are reserved for keys, so name a variable for anything else, "+
		"a secret for instance, without it; `webhook-gateway config print --env` lists them", name, EnvPrefix)
}

// setKey replaces the value of a key by the text of a variable: as it is for a
// string, and as YAML for anything else, so that lists and maps are given in flow
// style.
func setKey(k key, variable, text string) *checker {
	if k.value.Kind() == reflect.String {
		k.value.SetString(text)
		return &checker{}
	}
	value := reflect.New(k.value.Type())
	found := checkAndLoad(value.Interface(), []byte(text), k.path, func(int) string { return variable })
	if len(found.problems) == 0 && found.empty {
		found.report(0, k.path, "a value is expected")
	}
	if len(found.problems) == 0 {
		k.value.Set(value.Elem())
	}
	return found
}
