package server_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// forTests are the names of what only gateways that are thrown away are made with.
var forTests = regexp.MustCompile(`\bserver\.(InMemory|WithReaders|WithFaults)\b`)

// Only package ephemeral makes gateways that have faults, which are not a part of any
// other.
func TestFaultsAreForGatewaysThatAreThrownAway(t *testing.T) {
	users := make(map[string]bool)
	for _, root := range []string{".", "../cmd", "../examples"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") {
				return err
			}
			text, err := os.ReadFile(path)
			if forTests.Match(text) {
				users[filepath.Dir(path)] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(users) != 1 || !users["ephemeral"] {
		t.Errorf("gateways with faults are made in %v", users)
	}
}
