package access

import (
	"fmt"
	"slices"
	"strings"
)

// Use returns an error unless the caller may use the subscription of a name: read where it
// stands, consume it, settle its events and see the parked ones. It is a status, and the
// same whether there is such a subscription or not.
func (c *Caller) Use(field, name string) error {
	if c.MayUse(name) {
		return nil
	}
	return NotGranted(field, fmt.Sprintf("the use of subscription %.64q is not granted", name))
}

// MayUse is Use for many.
func (c *Caller) MayUse(name string) bool {
	return c.anySubscription(func(s SubscriptionGrant) bool { return strings.HasPrefix(name, s.Prefix) })
}

// Manage returns an error unless the caller may manage the subscription of a name: create,
// change, move and delete it, and decide about its parked events. It is as that of Use.
func (c *Caller) Manage(field, name string) error {
	if c.anySubscription(func(s SubscriptionGrant) bool { return s.Manage && strings.HasPrefix(name, s.Prefix) }) {
		return nil
	}
	return NotGranted(field, fmt.Sprintf("managing subscription %.64q is not granted", name))
}

// UseAny returns an error unless there are names of which the caller may use the
// subscriptions. It is a status.
func (c *Caller) UseAny() error {
	if c.anySubscription(func(SubscriptionGrant) bool { return true }) {
		return nil
	}
	return NotGranted("", "no subscriptions are granted to this caller")
}

// Look returns an error unless the caller may read events, or operates the gateway: then
// it may know where the log begins and ends. It is a status.
func (c *Caller) Look() error {
	if slices.ContainsFunc(c.Grants, func(g *Grant) bool { return g.Operator || slices.ContainsFunc(views, g.in) }) {
		return nil
	}
	return NotGranted("", "neither reading events nor operating the gateway is granted to this caller")
}

// Subscriptions returns which subscriptions the caller may use and manage.
func (c *Caller) Subscriptions() []SubscriptionGrant {
	var all []SubscriptionGrant
	for _, g := range c.Grants {
		all = append(all, g.Subscriptions...)
	}
	return all
}

func (c *Caller) anySubscription(f func(SubscriptionGrant) bool) bool {
	return slices.ContainsFunc(c.Grants, func(g *Grant) bool { return slices.ContainsFunc(g.Subscriptions, f) })
}
