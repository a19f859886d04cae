package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
	"github.com/webhook-gateway/webhook-gateway/server/redact"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// Reach is which events a caller may read, in one view or in any. It is for one call,
// and one goroutine.
type Reach struct {
	// in says how, for people: the view, or nothing.
	in     string
	limits []*filter.Limits
	masks  *masks // nil: nothing is masked
}

// Reach returns what the caller may read in a view. Its errors are statuses: that of a
// caller that may read nothing in this view names those in which it may.
func (c *Caller) Reach(view webhookgatewayv1.EventView) (*Reach, error) {
	r := newReach(c.Grants, " ("+view.String()+")", func(g *Grant) bool { return g.in(view) })
	if len(r.limits) > 0 {
		return r, nil
	}
	var granted []string
	for _, v := range c.Views() {
		granted = append(granted, v.String())
	}
	if len(granted) == 0 {
		return nil, NotGranted("", "no events are granted to this caller")
	}
	message := fmt.Sprintf("%v is not granted: ask for %s", view, strings.Join(granted, " or "))
	if view == webhookgatewayv1.EventView_EVENT_VIEW_FULL {
		message = fmt.Sprintf("%v, which is meant if none is named, is not granted: ask for %s", view, strings.Join(granted, " or "))
	}
	return nil, NotGranted("view", message)
}

// ReachInAnyView returns what the caller may read in one view or another. Its errors are
// statuses.
func (c *Caller) ReachInAnyView() (*Reach, error) {
	r := newReach(c.Grants, "", func(g *Grant) bool { return slices.ContainsFunc(views, g.in) })
	if len(r.limits) == 0 {
		return nil, NotGranted("", "no events are granted to this caller")
	}
	return r, nil
}

// Views returns the views in which the caller may read anything.
func (c *Caller) Views() []webhookgatewayv1.EventView {
	return slices.DeleteFunc(slices.Clone(views), func(v webhookgatewayv1.EventView) bool {
		return !slices.ContainsFunc(c.Grants, func(g *Grant) bool { return g.in(v) })
	})
}

var views = []webhookgatewayv1.EventView{
	webhookgatewayv1.EventView_EVENT_VIEW_METADATA,
	webhookgatewayv1.EventView_EVENT_VIEW_FULL,
	webhookgatewayv1.EventView_EVENT_VIEW_RAW,
}

func newReach(grants []*Grant, in string, usable func(*Grant) bool) *Reach {
	r := &Reach{in: in}
	var masked []redact.Classes
	for _, g := range grants {
		if usable(g) {
			limits, classes := g.readable()
			r.limits, masked = append(r.limits, limits), append(masked, classes)
		}
	}
	if slices.ContainsFunc(masked, func(c redact.Classes) bool { return c != 0 }) {
		r.masks = &masks{limits: r.limits, classes: masked, compiled: make(map[redact.Classes]*redact.Mask)}
	}
	return r
}

// Unlimited reports whether every event may be read.
func (r *Reach) Unlimited() bool { return slices.ContainsFunc(r.limits, (*filter.Limits).Unlimited) }

// Narrow returns the part of the filters of a request that the caller may read. Errors
// are statuses, and of fielderr.
func (r *Reach) Narrow(f *filter.Filter) (*filter.Filter, error) {
	narrow, err := f.Within(r.limits...)
	return narrow, r.refuse("", err)
}

// NarrowFields is Narrow for a request that has the conditions of one filter as fields of its
// own.
func (r *Reach) NarrowFields(f *filter.Filter) (*filter.Filter, error) {
	narrow, err := f.Within(r.limits...)
	var outside *filter.OutsideError
	if errors.As(err, &outside) {
		return nil, NotGranted(strings.TrimPrefix(strings.TrimPrefix(outside.Path, "filters[0]"), "."), outside.Message+r.in)
	}
	return narrow, err
}

// AllowsAll reports whether the caller may read every event that a filter matches, and
// which classes are then masked in something that all of them tell of: those that each
// grant masks which alone allows them all, or all classes.
func (r *Reach) AllowsAll(f *webhookgatewayv1.EventFilter) (masked redact.Classes, allowed bool) {
	if !filter.AllowAll(f, r.limits...) {
		return 0, false
	}
	if r.masks == nil {
		return 0, true
	}
	masked = redact.All()
	for i, l := range r.limits {
		if filter.AllowAll(f, l) {
			masked &= r.masks.classes[i]
		}
	}
	return masked, true
}

// DependsOnSubjects reports whether there are subjects whose events the caller may read, and
// others.
func (r *Reach) DependsOnSubjects() bool {
	return slices.ContainsFunc(r.limits, (*filter.Limits).NameSubjects)
}

// Covers returns an error unless the caller may read everything that a filter matches.
// It is a status; section is the field whose filters they are, empty for the request.
func (r *Reach) Covers(section string, f *filter.Filter) error {
	return r.refuse(section, f.CoveredBy(r.limits...))
}

// Shown returns filters as the caller may see them: with `*` for the clients, subjects and ids
// in one that selects what it may not read. Without a reach it may read nothing. What is given
// is not changed.
func (r *Reach) Shown(filters []*webhookgatewayv1.EventFilter) []*webhookgatewayv1.EventFilter {
	shown := slices.Clone(filters)
	for i, one := range shown {
		asked, err := filter.Compile([]*webhookgatewayv1.EventFilter{one})
		if r == nil || err != nil || r.Covers("", asked) != nil {
			shown[i] = filter.WithoutTexts(one)
		}
	}
	return shown
}

// Allows reports whether the caller may read an event.
func (r *Reach) Allows(record eventlog.Record) bool {
	return slices.ContainsFunc(r.limits, func(l *filter.Limits) bool { return l.Unlimited() || l.Allow(record) })
}

// Mask returns how an event that the caller may read is masked: every class that all
// grants of the event mask. Nil masks nothing.
func (r *Reach) Mask(record eventlog.Record) *redact.Mask {
	if r.masks == nil {
		return nil
	}
	return r.masks.of(record)
}

// Encode returns an event that the caller may read, encoded as it may see it in a view; see
// eventlog.Record.AppendEvent.
func (r *Reach) Encode(record eventlog.Record, history *eventlog.History, view webhookgatewayv1.EventView) []byte {
	return r.Mask(record).Apply(record.AppendEvent(nil, history, view))
}

// Masks reports whether anything may be masked.
func (r *Reach) Masks() bool { return r.masks != nil }

// refuse turns what is outside of the grants into a status.
func (r *Reach) refuse(section string, err error) error {
	var outside *filter.OutsideError
	if !errors.As(err, &outside) {
		return err
	}
	path := outside.Path
	if section != "" {
		path = section + "." + path
	}
	return NotGranted(path, outside.Message+r.in)
}

// NotGranted returns the status for something that the caller was not granted. The field
// is the one of the request that asks for it, empty for the call as a whole.
func NotGranted(field, message string) error {
	const reason = webhookgatewayv1.ErrorReason_ERROR_REASON_NOT_GRANTED
	if field == "" {
		return rpcerr.Error(reason, message)
	}
	return rpcerr.Error(reason, field+": "+message, rpcerr.WithMetadata("field", field))
}
