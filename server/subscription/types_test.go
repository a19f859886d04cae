package subscription

import (
	"strings"
	"testing"
)

// An update keeps the position, so it does not mend another start.
func TestExistsErrorSaysWhatToDo(t *testing.T) {
	for want, differences := range map[string][]string{
		": update it, or":          {"filters", "settings.ordering"},
		": seek it, or":            {"start"},
		": update and seek it, or": {"filters", "start"},
	} {
		if err := (&ExistsError{Name: "s", Differences: differences}).Error(); !strings.Contains(err, want) {
			t.Errorf("what differs in %v: %s", differences, err)
		}
	}
}
