package deploy

import (
	"os"
	"strings"
	"testing"
)

// TestChartByTheExample: the values that docs/operations.md shows install a gateway that
// starts, with all that they ask for.
func TestChartByTheExample(t *testing.T) {
	const begin, end = "```yaml\n", "```\n"
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), "**Kubernetes** ")
	_, after, begins := strings.Cut(after, begin)
	values, _, ends := strings.Cut(after, end)
	if !found || !begins || !ends {
		t.Fatal("docs/operations.md has no example for Kubernetes")
	}
	i := install(t, values)
	checkMeetings(t, i)
	checkGatewayTakes(t, i)
	if i.ingress == nil || i.monitor == nil || i.rule == nil || i.dashboard == nil {
		t.Errorf("there is %v %v %v %v", i.ingress, i.monitor, i.rule, i.dashboard)
	}
}
