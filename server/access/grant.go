package access

import (
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// Grant is a part of what a caller may. It never changes.
type Grant struct {
	// Name is that of the grant in the configuration.
	Name string
	// Filters are the events that may be read: what any of them matches. None: none.
	Filters []*webhookgatewayv1.EventFilter
	// Views are those in which they may be read.
	Views []webhookgatewayv1.EventView
	// Mask has the classes of sensitive fields that arrive masked.
	Mask []string
	// Subscriptions may be used, or used and managed, by the beginnings of their names.
	Subscriptions []SubscriptionGrant
	// Operator may read metrics, copy the store, and look into the process.
	Operator bool
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
