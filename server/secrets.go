package server

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

// Files returns the paths of the files that the configuration names and that are read
// again by a reload: secrets, certificates, and the keys of an issuer.
func (c Config) Files() []string {
	files := slices.Concat(c.TLS.Webhooks.Files(), c.TLS.GRPC.Files(), c.TLS.InternalHTTP.Files(), c.Cluster.TLS.Files())
	for _, s := range c.Secrets() {
		if file, ok := s.File(); ok {
			files = append(files, file)
		}
	}
	if file := c.Access.OIDC.JWKSFile; file != "" {
		files = append(files, file)
	}
	return files
}

// Secret is a secret of a configuration, with its path.
type Secret struct {
	Path string
	secret.Secret
}

// Secrets returns all secrets that the configuration has, in the order of their paths.
func (c Config) Secrets() []Secret {
	var all []Secret
	eachSecret(reflect.ValueOf(&c).Elem(), "", func(path string, s *secret.Secret) {
		if *s != (secret.Secret{}) {
			all = append(all, Secret{Path: path, Secret: *s})
		}
	})
	slices.SortFunc(all, func(a, b Secret) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// eachSecret calls a function, which may change it, for each secret within a value that
// has a path. The value is addressable. Its maps are replaced by copies: whoever shares
// them sees no change.
func eachSecret(v reflect.Value, path string, f func(path string, s *secret.Secret)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			eachSecret(v.Elem(), path, f)
		}
	case reflect.Struct:
		if s, ok := v.Addr().Interface().(*secret.Secret); ok {
			f(path, s)
			return
		}
		for _, field := range fields(v.Type()) {
			eachSecret(v.FieldByIndex(field.index), join(path, field.name), f)
		}
	case reflect.Slice:
		for i := range v.Len() {
			eachSecret(v.Index(i), fmt.Sprintf("%s[%d]", path, i), f)
		}
	case reflect.Map:
		if v.IsNil() {
			return
		}
		replaced := reflect.MakeMapWithSize(v.Type(), v.Len())
		for _, name := range slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int {
			return strings.Compare(a.String(), b.String())
		}) {
			value := reflect.New(v.Type().Elem()).Elem()
			value.Set(v.MapIndex(name))
			eachSecret(value, join(path, fielderr.Key(name.String())), f)
			replaced.SetMapIndex(name, value)
		}
		v.Set(replaced)
	default:
	}
}
