package fielderr_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

func TestPathsOfSectionsComeInFront(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{fielderr.New("b", "no"), "a.b: no"},
		{fielderr.New("", "no"), "a: no"},
		{fielderr.New("[3].b", "no"), "a[3].b: no"},
		{errors.New("no"), "a: no"},
		{fmt.Errorf("more: %w", fielderr.New("b", "no")), "a.b: no"},
		{errors.Join(fielderr.New("b", "no"), errors.New("none"), errors.Join(fielderr.New("c", "never"))), "a.b: no\na: none\na.c: never"},
	} {
		got := ""
		if err := fielderr.In("a", test.err); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("In(a, %v) = %q, want %q", test.err, got, test.want)
		}
	}
}

func TestAllFindsEveryProblem(t *testing.T) {
	err := fielderr.In("x", errors.Join(fielderr.New("a", "1"), fielderr.New("b", "2")))
	all := fielderr.All(err)
	if len(all) != 2 || all[0].Path != "x.a" || all[1].Path != "x.b" || all[1].Message != "2" {
		t.Fatalf("All = %+v", all)
	}
	if fielderr.All(nil) != nil {
		t.Fatal("All(nil) is not empty")
	}
}

func TestKeysOfUsersAreQuotedUnlessPlain(t *testing.T) {
	for name, want := range map[string]string{
		"acme-1": "acme-1", "2026_11": "2026_11", "Größe": "Größe",
		"": `""`, "a.b": `"a.b"`, "a\nb": `"a\nb"`, "a b": `"a b"`, "\xff": `"\xff"`, "a[0]": `"a[0]"`,
	} {
		if got := fielderr.Key(name); got != want {
			t.Errorf("Key(%q) = %s, want %s", name, got, want)
		}
	}
}
