package cluster

import (
	"crypto/sha256"
	"encoding/binary"
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
	changed chan struct{}
}

// Changed returns a channel that is closed when there is another view.
func (v *View) Changed() <-chan struct{} { return v.changed }

// Owner returns the member that owns what has a name; false if nobody is known to be
// alive. It is the one whose hash with the name is highest: so each owns about as many
// as the others, and when one comes or goes only what it owns moves.
func (v *View) Owner(name string) (Member, bool) {
	var owner Member
	var highest uint64
	for _, m := range v.Members {
		sum := sha256.Sum256([]byte(m.ID + "\x00" + name))
		if score := binary.BigEndian.Uint64(sum[:8]); owner.ID == "" || score > highest {
			owner, highest = m, score
		}
	}
	return owner, owner.ID != ""
}

// View returns the current view.
func (c *Cluster) View() *View {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view
}

// Owns reports whether this gateway owns what has a name.
func (c *Cluster) Owns(name string) bool {
	owner, _ := c.View().Owner(name)
	return owner.ID == c.id && !c.dead()
}

// publish puts another view in force, if it is another.
func (c *Cluster) publish(members []Member) {
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	c.mu.Lock()
	before := c.view
	if slices.Equal(before.Members, members) || c.left && members != nil {
		c.mu.Unlock()
		return
	}
	c.view = &View{Members: members, changed: make(chan struct{})}
	left := c.left
	c.mu.Unlock()
	if !left {
		c.tell(before.Members, members)
	}
	c.peers.keep(members)
	close(before.changed)
}

// tell logs who came and who went.
func (c *Cluster) tell(before, after []Member) {
	if len(after) == 0 {
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
