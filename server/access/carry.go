package access

import (
	clusterv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/cluster/v1"
)

// Carry returns the caller as one gateway tells it another that it passes a call on to.
func (c *Caller) Carry() *clusterv1.Caller {
	carried := &clusterv1.Caller{Name: c.Name, Method: string(c.Method)}
	for _, g := range c.Grants {
		grant := &clusterv1.Grant{Name: g.Name, Filters: g.Filters, Views: g.Views, Mask: g.Mask, Operator: g.Operator}
		for _, s := range g.Subscriptions {
			grant.Subscriptions = append(grant.Subscriptions, &clusterv1.SubscriptionGrant{Prefix: s.Prefix, Manage: s.Manage})
		}
		carried.Grants = append(carried.Grants, grant)
	}
	return carried
}

// Carried returns the caller that Carry was called for. When its credentials expire is for
// the other gateway to watch.
func Carried(carried *clusterv1.Caller) *Caller {
	c := &Caller{Name: carried.GetName(), Method: Method(carried.GetMethod())}
	for _, g := range carried.GetGrants() {
		grant := &Grant{Name: g.GetName(), Filters: g.GetFilters(), Views: g.GetViews(), Mask: g.GetMask(), Operator: g.GetOperator()}
		for _, s := range g.GetSubscriptions() {
			grant.Subscriptions = append(grant.Subscriptions, SubscriptionGrant{Prefix: s.GetPrefix(), Manage: s.GetManage()})
		}
		c.Grants = append(c.Grants, grant)
	}
	return c
}
