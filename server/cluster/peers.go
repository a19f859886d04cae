package cluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// maxPeerMessage is the largest answer of another gateway: a page of parked events with
// large bodies. The gateways trust each other.
const maxPeerMessage = 1 << 30

// Dial says how the other gateways are called.
type Dial struct {
	// Secrets returns those in force.
	Secrets func() Secrets
	// TLS returns the configuration in force of the client, without a server name. Nil, or
	// a function that returns nil: plain text.
	TLS func() *tls.Config
}

// peers are the connections to the other gateways.
type peers struct {
	dial   Dial
	mu     sync.Mutex
	byID   map[string]*grpc.ClientConn
	closed bool
	// unreached are the members that did not take the last call.
	unreached map[string]unreached
}

// unreached is a member that did not take a call, and why. If it refused it, it is connected.
type unreached struct {
	Member
	why     error
	refused bool
	at      time.Time
}

// refusalTold is for how long it is told that a member has refused a call: without another one
// nobody knows whether it still would.
const refusalTold = time.Minute

func newPeers(dial Dial) *peers {
	return &peers{dial: dial, byID: make(map[string]*grpc.ClientConn), unreached: make(map[string]unreached)}
}

// NoteReached takes note of whether another member takes calls: why it does not, or nil.
func (c *Cluster) NoteReached(m Member, why error) {
	c.peers.mu.Lock()
	defer c.peers.mu.Unlock()
	if why == nil {
		delete(c.peers.unreached, m.ID)
	} else if c.peers.byID[m.ID] != nil {
		c.peers.unreached[m.ID] = unreached{m, why, IsRefused(why), time.Now()}
	}
}

// warnings returns which members do not take calls, as far as is known.
func (p *peers) warnings() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var warnings []string
	for id, u := range p.unreached {
		if u.refused && time.Since(u.at) < refusalTold || p.byID[id].GetState() != connectivity.Ready {
			warnings = append(warnings, fmt.Sprintf("the gateway %s cannot be reached, so workers of this one get nothing of the subscriptions that it runs: "+
				"check the network and, at both, cluster.advertise, cluster.tls and cluster.secret: %v", u.Address, u.why))
		}
	}
	slices.Sort(warnings)
	return warnings
}

// Conn returns the connection to another member, which need not be connected.
func (c *Cluster) Conn(m Member) (*grpc.ClientConn, error) { return c.peers.conn(m) }

// Ready waits until a connection can take a call. It returns false if the context ends
// before that.
func Ready(ctx context.Context, conn *grpc.ClientConn) bool {
	for {
		state := conn.GetState()
		switch state {
		case connectivity.Ready:
			return true
		case connectivity.Shutdown:
			return false
		case connectivity.Idle:
			conn.Connect()
		case connectivity.Connecting, connectivity.TransientFailure:
		}
		if !conn.WaitForStateChange(ctx, state) {
			return false
		}
	}
}

func (p *peers) conn(m Member) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if conn, ok := p.byID[m.ID]; ok {
		return conn, nil
	}
	if p.closed {
		return nil, errLeft
	}
	// NOTE The address is as the member gives it: nothing is to be looked up by gRPC but a
	// host name, and a change of what that leads to makes another member.
	conn, err := grpc.NewClient("passthrough:///"+m.Address,
		grpc.WithTransportCredentials(p.credentials(m.Address)),
		grpc.WithPerRPCCredentials(bearer{p.dial.Secrets, m.ID}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxPeerMessage)),
		grpc.WithDisableServiceConfig(), grpc.WithNoProxy(),
	)
	if err != nil {
		return nil, fmt.Errorf("connect to the gateway %s: %w", m.Address, err)
	}
	p.byID[m.ID] = conn
	return conn, nil
}

// keep closes the connections to gateways that are no members any more: what waits for
// them ends.
func (p *peers) keep(members []Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := make(map[string]*grpc.ClientConn)
	for _, m := range members {
		if conn, ok := p.byID[m.ID]; ok {
			kept[m.ID] = conn
			delete(p.byID, m.ID)
		}
	}
	for id, conn := range p.byID {
		_ = conn.Close()
		delete(p.unreached, id)
	}
	p.byID = kept
}

func (p *peers) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.keep(nil)
}

func (p *peers) credentials(address string) credentials.TransportCredentials {
	if p.dial.TLS == nil || p.dial.TLS() == nil {
		return insecure.NewCredentials()
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	return current{TransportCredentials: credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12}), config: p.dial.TLS, host: host}
}

// current are the credentials of a client by the certificates that are in force when it
// connects.
type current struct {
	credentials.TransportCredentials
	config func() *tls.Config
	host   string
}

// ClientHandshake implements credentials.TransportCredentials.
func (c current) ClientHandshake(ctx context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	config := c.config().Clone()
	config.ServerName = c.host
	return credentials.NewTLS(config).ClientHandshake(ctx, c.host, conn)
}

// Clone implements credentials.TransportCredentials.
func (c current) Clone() credentials.TransportCredentials {
	return current{c.TransportCredentials.Clone(), c.config, c.host}
}
