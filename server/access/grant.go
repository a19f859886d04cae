package access

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	sensitivityv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/sensitivity/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
	"github.com/webhook-gateway/webhook-gateway/server/redact"
)

// Grant is a part of what a caller may. It must not be changed, nor copied.
type Grant struct {
	// Name is that of the grant in the configuration.
	Name string
	// Filters are the events that may be read: what any of them matches. None: none. One
	// that names no verdicts has those of every verdict.
	Filters []*webhookgatewayv1.EventFilter
	// Views are those in which they may be read: no other, though it shows less.
	Views []webhookgatewayv1.EventView
	// Mask names the classes of sensitive fields that arrive masked: see redact.Parse. Then
	// RAW is not granted, whatever the views are. Who gets the subject masked cannot ask for
	// the events of a subject either.
	Mask []string
	// Subscriptions may be used, or used and managed, by the beginnings of their names.
	Subscriptions []SubscriptionGrant
	// Operator may read metrics, copy the store, and look into the process.
	Operator bool

	compile sync.Once
	limits  *filter.Limits
	masked  redact.Classes
}

// Check validates a grant. Its errors are of fielderr.
func (g *Grant) Check() error {
	_, err := filter.CompileLimits(g.Filters, false)
	classes, maskErr := redact.Parse(g.Mask)
	errs := []error{err, fielderr.In("mask", maskErr)}
	for i, view := range g.Views {
		if _, known := webhookgatewayv1.EventView_name[int32(view)]; !known || view == webhookgatewayv1.EventView_EVENT_VIEW_UNSPECIFIED {
			errs = append(errs, fielderr.New(fmt.Sprintf("views[%d]", i), "%v is not a view that this gateway knows", view))
		}
		if view == webhookgatewayv1.EventView_EVENT_VIEW_RAW && len(g.Mask) > 0 {
			errs = append(errs, fielderr.New(fmt.Sprintf("views[%d]", i),
				"a raw body cannot be masked: leave RAW out, or mask nothing"))
		}
	}
	if len(g.Filters) > 0 && len(g.Views) == 0 {
		errs = append(errs, fielderr.New("views", "name the views in which the events of the filters may be read"))
	}
	if classes.Has(sensitivityv1.Sensitivity_SENSITIVITY_SUBJECT) {
		for i, f := range g.Filters {
			if len(f.GetSubjects()) > 0 {
				errs = append(errs, fielderr.New(fmt.Sprintf("filters[%d].subjects", i),
					"every stream shows its filters, and the mask hides subjects: leave one of them out"))
			}
		}
	}
	return errors.Join(errs...)
}

// in reports whether the grant allows to read anything in a view.
func (g *Grant) in(view webhookgatewayv1.EventView) bool {
	raw := view == webhookgatewayv1.EventView_EVENT_VIEW_RAW
	return len(g.Filters) > 0 && slices.Contains(g.Views, view) && (!raw || len(g.Mask) == 0)
}

// readable returns what may be read, and what of it is masked: nothing may if the filters
// are not valid, and everything is if the classes are not.
func (g *Grant) readable() (*filter.Limits, redact.Classes) {
	g.compile.Do(func() {
		var err error
		if g.masked, err = redact.Parse(g.Mask); err != nil {
			g.masked = redact.All()
		}
		g.limits, err = filter.CompileLimits(g.Filters, g.masked.Has(sensitivityv1.Sensitivity_SENSITIVITY_SUBJECT))
		if err != nil {
			g.limits = &filter.Limits{}
		}
	})
	return g.limits, g.masked
}

// SubscriptionGrant grants what may be done with the subscriptions whose names begin
// with a prefix.
type SubscriptionGrant struct {
	// Prefix of their names. Empty: all.
	Prefix string
	// Manage is to create, change, seek and delete them, beside using them.
	Manage bool
}

// everything is the grant of anybody where access is not configured.
func everything() *Grant {
	return &Grant{
		Name:    "everything",
		Filters: []*webhookgatewayv1.EventFilter{{}},
		Views: []webhookgatewayv1.EventView{
			webhookgatewayv1.EventView_EVENT_VIEW_FULL,
			webhookgatewayv1.EventView_EVENT_VIEW_RAW,
			webhookgatewayv1.EventView_EVENT_VIEW_METADATA,
		},
		Subscriptions: []SubscriptionGrant{{Manage: true}},
		Operator:      true,
	}
}
