package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/cluster/v1"
)

// sighting is what was seen of another gateway.
type sighting struct {
	beat uint64
	// waited is how many regular beats of this gateway passed since its last one.
	waited int
}

// look reads who is a member, and publishes it. If it is judging, which is so right after a
// regular beat, and only then, it also finds out who is dead.
func (c *Cluster) look(ctx context.Context, judging bool) error {
	c.looking.Lock()
	defer c.looking.Unlock()
	records, err := c.read(ctx)
	if err != nil {
		if ctx.Err() == nil {
			c.Logger.Warn("the gateways of the cluster cannot be listed", "error", err)
		}
		return err
	}
	if judging {
		c.lookForTwin(records)
	}
	var members []Member
	known := records[c.id] != nil
	for id, record := range records {
		if id != c.id && judging && c.isDead(record) && c.bury(ctx, record) {
			continue
		}
		members = append(members, Member{ID: id, Address: record.GetAddress()})
		known = known && (id == c.id || slices.Contains(record.GetKnown(), c.id))
	}
	for id := range c.seen {
		if records[id] == nil {
			delete(c.seen, id)
		}
	}
	if c.dead() { // see judgeMyself
		return nil
	}
	if known {
		c.mu.Lock()
		c.arrived = true
		c.mu.Unlock()
	}
	c.publish(members)
	c.tellKnown()
	return nil
}

// lookForTwin takes note of another gateway that is alive at the address of this one. One that
// does not beat is what this one was before it was started again.
func (c *Cluster) lookForTwin(records map[string]*clusterv1.Member) {
	same, alive := false, false
	for id, record := range records {
		if id == c.id || record.GetAddress() != c.Address {
			continue
		}
		s, known := c.seen[id]
		same, alive = true, alive || known && s.beat != record.GetBeat()
	}
	c.mu.Lock()
	found := alive && !c.twin
	c.twin = same && (c.twin || alive)
	c.mu.Unlock()
	if found {
		c.Logger.Warn("the gateways do not reach each other", "why", c.twinWarning())
	}
}

// Warnings returns what is wrong with the place of this gateway among the others.
func (c *Cluster) Warnings() []string {
	warnings := c.peers.warnings()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.twin {
		warnings = append(warnings, c.twinWarning())
	}
	return warnings
}

func (c *Cluster) twinWarning() string {
	return fmt.Sprintf("another gateway gives the same address as this one, %s, and workers do not reach the subscriptions of one of them: "+
		"give each its own cluster.advertise, as the others reach it", c.Address)
}

// tellKnown has the others know of whom this gateway knows, if it has not told them. One that
// came waits for it.
func (c *Cluster) tellKnown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.left && !slices.Equal(c.view.ids(), c.told) {
		c.nextFlight()
	}
}

// read reads all members from the copy.
func (c *Cluster) read(ctx context.Context) (map[string]*clusterv1.Member, error) {
	records := make(map[string]*clusterv1.Member)
	for scope, err := range c.States.ListScopes(ctx, scopePrefix) {
		if err != nil {
			return nil, err
		}
		id := strings.TrimPrefix(scope, scopePrefix)
		for pair, err := range c.States.ReadScope(ctx, scope, []byte(keyMember), []byte(keyMember+"\x00")) {
			if err != nil {
				return nil, err
			}
			var record clusterv1.Member
			if err := proto.Unmarshal(pair.Value, &record); err != nil {
				return nil, fmt.Errorf("the gateway %s is not readable: %w", id, err)
			}
			record.Id = id
			records[id] = &record
		}
	}
	return records, nil
}

// isDead counts a regular beat of this gateway that another one has not answered with a beat
// of its own, and reports whether there were too many.
func (c *Cluster) isDead(record *clusterv1.Member) bool {
	s, known := c.seen[record.GetId()]
	if !known || s.beat != record.GetBeat() {
		c.seen[record.GetId()] = &sighting{beat: record.GetBeat()}
		return false
	}
	s.waited++
	return s.waited >= Patience
}

// bury drops the scope of a gateway that is dead. It returns false if it could not.
func (c *Cluster) bury(ctx context.Context, record *clusterv1.Member) bool {
	scope := scopePrefix + record.GetId()
	term, err := c.States.AcquireScope(ctx, scope)
	if err == nil {
		err = c.States.DropScope(ctx, scope, term)
	}
	if err != nil { // another gateway does it at the same time
		c.Logger.Info("a gateway that is dead was not taken out of the cluster: it is tried again", "gateway", record.GetAddress(), "error", err)
		return false
	}
	c.Logger.Warn("a gateway is dead: the others take over its subscriptions", "gateway", record.GetAddress(), "id", record.GetId())
	return true
}
