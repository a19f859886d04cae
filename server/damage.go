package server

import (
	"fmt"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// maxDamageLines bounds what /readyz says of damage.
const maxDamageLines = 20

// damageLines says what of the event log cannot be read, for people. It makes nobody
// not ready.
func damageLines(damage eventlog.Damage) []string {
	var lines []string
	for i, lost := range damage.Lost {
		if i == maxDamageLines {
			lines = append(lines, fmt.Sprintf("and %d more ranges", len(damage.Lost)-i))
			break
		}
		line := fmt.Sprintf("the events after position %d up to %d are lost, as was found at %s",
			lost.After, lost.UpTo, lost.Found.UTC().Format(time.RFC3339))
		if lost.SetAside != "" {
			line += ": what is left of the files is in the folder " + lost.SetAside + " of the store"
		}
		lines = append(lines, line)
	}
	if damage.Unreadable > 0 {
		lines = append(lines, fmt.Sprintf("%d events are damaged and cannot be read: `webhook-gateway log verify` tells which", damage.Unreadable))
	}
	return lines
}
