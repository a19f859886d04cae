package filter

import (
	"slices"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

// Limits are filters that bound what somebody may read: what any of them allows.
// They never change.
type Limits struct {
	conditions []conditions
	boxes      []box
	// hidesSubjects: nobody may ask for a subject.
	hidesSubjects bool
	// unlimited: everything is allowed, and may be asked for.
	unlimited bool
}

// CompileLimits validates the filters of limits. No filter allows nothing. One that names
// no verdicts allows all of them, and one that names no clients allows all that it does not
// exclude, the canary's among them: to those who name it. With hidesSubjects the limits
// allow no filter that names subjects: who may ask for the events of a subject can find out
// their subjects. Its errors are as those of Compile.
func CompileLimits(filters []*webhookgatewayv1.EventFilter, hidesSubjects bool) (*Limits, error) {
	l := &Limits{hidesSubjects: hidesSubjects}
	if len(filters) == 0 {
		return l, nil
	}
	if _, err := Compile(filters); err != nil {
		return nil, err
	}
	// NOTE: Those that Compile takes for the same differ here, in what they leave out.
	for i, one := range filters {
		normal, filledIn := normalise(one)
		b, c := boxOf(normal), newConditions(normal, false, i)
		if filledIn.anyButFailed {
			b[verdictSide] = anything
			c.verdicts = ^uint32(0)
		}
		if filledIn.anyButCanary {
			b[clientSide] = b[clientSide].or(set{texts: []string{provider.CanaryClientID}})
			c.excluded = newTextSet(b[clientSide].texts)
		}
		l.boxes, l.conditions = append(l.boxes, b), append(l.conditions, c)
	}
	l.unlimited = !hidesSubjects && slices.ContainsFunc(l.boxes, box.all)
	return l, nil
}

// Allow reports whether an event is within the limits.
func (l *Limits) Allow(r eventlog.Record) bool {
	for i := range l.conditions {
		if l.conditions[i].match(r) == Match {
			return true
		}
	}
	return false
}

// Unlimited reports whether the limits allow every event and every filter.
func (l *Limits) Unlimited() bool { return l.unlimited }

// NameSubjects reports whether what is allowed depends on subjects.
func (l *Limits) NameSubjects() bool {
	return slices.ContainsFunc(l.boxes, func(b box) bool { return !b[subjectSide].all() })
}

// askable returns a limit as it is for a filter.
func (l *Limits) askable(limit, asked box) box {
	if l.hidesSubjects && !asked[subjectSide].all() {
		limit[subjectSide] = set{}
	}
	return limit
}
