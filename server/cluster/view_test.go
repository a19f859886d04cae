package cluster

import (
	"fmt"
	"testing"
)

// TestOwners: each of three owns about a third, and when one goes only what it owned moves.
func TestOwners(t *testing.T) {
	t.Parallel()
	const names = 3000
	three := &View{Members: []Member{{ID: "a"}, {ID: "b"}, {ID: "c"}}}
	two := &View{Members: three.Members[:2]}
	counts := make(map[string]int)
	for i := range names {
		name := fmt.Sprint("team-", i)
		before, _ := three.Owner(name)
		after, known := two.Owner(name)
		counts[before.ID]++
		if !known || before.ID != "c" && before != after {
			t.Errorf("%s moved from %v to %v", name, before, after)
		}
	}
	for id, n := range counts {
		if n < names/3-names/20 || n > names/3+names/20 {
			t.Errorf("%s owns %d of %d", id, n, names)
		}
	}
	if _, known := (&View{}).Owner("team"); known {
		t.Error("nobody owns something")
	}
}
