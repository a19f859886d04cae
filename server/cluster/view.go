package cluster

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Member is a gateway that is alive.
type Member struct {
	// ID is random for each start of a gateway.
	ID string
	// Address is where the others reach it.
	Address string
}

// View is who is alive, as this gateway knows it. It never changes.
type View struct {
	// Members by their ids. There are none while this gateway takes itself for dead.
	Members []Member
	// arrived: this gateway may own something, as all others know of it.
	arrived bool
	changed chan struct{}
}

// Changed returns a channel that is closed when there is another view.
func (v *View) Changed() <-chan struct{} { return v.changed }

// ids returns the ids of the members.
func (v *View) ids() []string {
	ids := make([]string, len(v.Members))
	for i, m := range v.Members {
		ids[i] = m.ID
	}
	return ids
}

// Owner returns the member that owns what has a name; false if nobody is known to be
// alive. It is the one whose hash with the name is highest: so each owns about as many
// as the others, and when one comes or goes only what it owns moves.
func (v *View) Owner(name string) (Member, bool) {
	var owner Member
	var highest uint64
	for _, m := range v.Members {
		if score := score(m.ID, name); owner.ID == "" || score > highest {
			owner, highest = m, score
		}
	}
	return owner, owner.ID != ""
}

// score is a hash, the same on every gateway: FNV-1a, and then the mixing of splitmix64.
// FNV-1a alone gives nearly the same score to names that are nearly the same.
func score(id, name string) uint64 {
	hash := uint64(14695981039346656037)
	for _, text := range [...]string{id, "\x00", name} {
		for i := range len(text) {
			hash = (hash ^ uint64(text[i])) * 1099511628211
		}
	}
	hash = (hash ^ hash>>30) * 0xbf58476d1ce4e5b9
	hash = (hash ^ hash>>27) * 0x94d049bb133111eb
	return hash ^ hash>>31
}

// View returns the current view.
func (c *Cluster) View() *View {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view
}

// Owns reports whether this gateway owns what has a name.
func (c *Cluster) Owns(name string) bool {
	view := c.View()
	owner, _ := view.Owner(name)
	return owner.ID == c.id && view.arrived && !c.dead()
}

// Certain reports whether this gateway owns what has a name, and no other one can own it
// yet. While it misses beats the others may have taken it for dead: it still Owns what it
// owned, and is not certain of it.
func (c *Cluster) Certain(name string) bool {
	return c.View().arrived && c.CertainOf(name, c.id)
}

// CertainOf is Certain for what another gateway owns, by its id.
func (c *Cluster) CertainOf(name, id string) bool {
	c.mu.Lock()
	view, uncertain := c.view, c.missedTo(certainty)
	c.mu.Unlock()
	owner, _ := view.Owner(name)
	return owner.ID == id && !uncertain
}

// publish puts a view with these members in force, unless it is like the one that is. After
// Leave only an empty one is.
func (c *Cluster) publish(members []Member) {
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	c.mu.Lock()
	before, arrived := c.view, c.arrived
	if slices.Equal(before.Members, members) && before.arrived == arrived || c.left && members != nil {
		c.mu.Unlock()
		return
	}
	c.view = &View{Members: members, arrived: arrived, changed: make(chan struct{})}
	left := c.left
	c.mu.Unlock()
	if !left {
		c.logChanges(before.Members, members)
	}
	c.peers.keep(members)
	close(before.changed)
}

// logChanges logs who came and who went.
func (c *Cluster) logChanges(before, after []Member) {
	if len(after) == 0 && len(before) > 0 {
		c.Logger.Warn("this gateway owns no subscriptions: it is no member of the cluster", "id", c.id)
		return
	}
	for _, m := range after {
		if !slices.Contains(before, m) {
			c.Logger.Info("a gateway is in the cluster", "gateway", m.Address, "id", m.ID, "itself", m.ID == c.id, "gateways", len(after))
		}
	}
	for _, m := range before {
		if !slices.Contains(after, m) {
			c.Logger.Info("a gateway has left the cluster", "gateway", m.Address, "id", m.ID, "gateways", len(after))
		}
	}
}

var membersDesc = prometheus.NewDesc("webhook_gateway_cluster_members",
	"Gateways of the cluster that are alive, as this one knows it, itself among them; 0 while it takes itself for dead, as it cannot write into the commit log.", nil, nil)

// collector has the metrics.
type collector struct{ *Cluster }

// Describe implements prometheus.Collector.
func (c collector) Describe(descs chan<- *prometheus.Desc) { descs <- membersDesc }

// Collect implements prometheus.Collector.
func (c collector) Collect(metrics chan<- prometheus.Metric) {
	metrics <- prometheus.MustNewConstMetric(membersDesc, prometheus.GaugeValue, float64(len(c.View().Members)))
}
