package access

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
)

// GrantConfig is a Grant in the configuration.
type GrantConfig struct {
	// Filters are the events that may be read: what any of them matches. None: none.
	Filters []FilterConfig `yaml:"filters,omitempty"`
	// Views are full, raw and metadata. None: full and metadata, if there are filters.
	Views []string `yaml:"views,omitempty"`
	// Mask has the classes of sensitive fields that arrive masked.
	Mask []string `yaml:"mask,omitempty"`
	// Subscriptions that may be used.
	Subscriptions []SubscriptionConfig `yaml:"subscriptions,omitempty"`
	// Operator may read metrics, copy the store, and look into the process.
	Operator bool `yaml:"operator,omitempty"`
}

// FilterConfig is an EventFilter in the configuration, with the names of the command
// line. A condition that is left out matches every event.
type FilterConfig struct {
	Providers  []string `yaml:"providers,omitempty"`
	EventTypes []string `yaml:"event_types,omitempty"`
	ClientIDs  []string `yaml:"client_ids,omitempty"`
	Subjects   []string `yaml:"subjects,omitempty"`
	Verdicts   []string `yaml:"verdicts,omitempty"`
	// ExcludeClientIDs stands in place of ClientIDs.
	ExcludeClientIDs []string `yaml:"exclude_client_ids,omitempty"`
}

// SubscriptionConfig is a SubscriptionGrant in the configuration.
type SubscriptionConfig struct {
	// Prefix of the names. Empty: all.
	Prefix string `yaml:"prefix"`
	// Manage is to create, change, seek and delete them, beside using them.
	Manage bool `yaml:"manage,omitempty"`
}

// grant returns the grant, or all that is wrong with it.
func (c GrantConfig) grant(name string) (*Grant, error) {
	g := &Grant{Name: name, Mask: c.Mask, Operator: c.Operator}
	var errs []error
	for i, one := range c.Filters {
		f, err := one.filter()
		errs = append(errs, fielderr.In("filters["+strconv.Itoa(i)+"]", err))
		g.Filters = append(g.Filters, f)
	}
	views, err := parseEach("views", c.Views, parseView)
	errs = append(errs, err)
	if g.Views = views; len(c.Views) == 0 && len(c.Filters) > 0 {
		g.Views = []webhookgatewayv1.EventView{
			webhookgatewayv1.EventView_EVENT_VIEW_FULL, webhookgatewayv1.EventView_EVENT_VIEW_METADATA,
		}
	}
	if len(c.Filters) == 0 && (len(c.Views) > 0 || len(c.Mask) > 0) {
		errs = append(errs, fielderr.New("filters", "say which events may be read: [{}] is all of them"))
	}
	for _, s := range c.Subscriptions {
		g.Subscriptions = append(g.Subscriptions, SubscriptionGrant(s))
	}
	if len(c.Filters) == 0 && len(c.Subscriptions) == 0 && !c.Operator {
		errs = append(errs, fielderr.New("", "it grants nothing: give filters, subscriptions or operator"))
	}
	if errors.Join(errs...) == nil { // it is what was meant
		errs = append(errs, g.Check())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return g, nil
}

func (c FilterConfig) filter() (*webhookgatewayv1.EventFilter, error) {
	providers, errProviders := parseEach("providers", c.Providers, parseProvider)
	types, errTypes := parseEach("event_types", c.EventTypes, all.ParseType)
	verdicts, errVerdicts := parseEach("verdicts", c.Verdicts, all.ParseVerdict)
	f := &webhookgatewayv1.EventFilter{
		Providers: providers, EventTypes: types, Verdicts: verdicts, Subjects: c.Subjects,
		ClientIds: c.ClientIDs, ExcludeClientIds: c.ExcludeClientIDs,
	}
	return f, errors.Join(errProviders, errTypes, errVerdicts, notEmpty("client_ids", c.ClientIDs),
		notEmpty("exclude_client_ids", c.ExcludeClientIDs), notEmpty("subjects", c.Subjects))
}

// notEmpty refuses a list that is there and has nothing in it. In a filter it would mean
// everything, and may come from a template that was to name somebody.
func notEmpty(path string, texts []string) error {
	if texts != nil && len(texts) == 0 {
		return fielderr.New(path, "the list is empty: name something, or leave %s out if nothing is to be restricted", path)
	}
	return nil
}

// parseEach parses every text of a list, and names each that is wrong.
func parseEach[T any](path string, texts []string, parse func(string) (T, error)) ([]T, error) {
	var values []T
	errs := []error{notEmpty(path, texts)}
	for i, text := range texts {
		value, err := parse(text)
		if err != nil {
			errs = append(errs, fielderr.In(path+"["+strconv.Itoa(i)+"]", err))
		}
		values = append(values, value)
	}
	return values, errors.Join(errs...)
}

func parseProvider(name string) (webhookgatewayv1.Provider, error) {
	sender, err := all.FindSender(name)
	if err != nil {
		return 0, err
	}
	return sender.ID(), nil
}

func parseView(name string) (webhookgatewayv1.EventView, error) {
	switch strings.ToLower(name) {
	case "full":
		return webhookgatewayv1.EventView_EVENT_VIEW_FULL, nil
	case "raw":
		return webhookgatewayv1.EventView_EVENT_VIEW_RAW, nil
	case "metadata":
		return webhookgatewayv1.EventView_EVENT_VIEW_METADATA, nil
	}
	return 0, fmt.Errorf("%q is no view: choose full, raw or metadata", name)
}
