package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// nodes is how many NATS servers there are.
const nodes = 3

// streamName is that of the configuration of the gateways.
const streamName = "webhook-gateway"

// serveNATS is what this program is when it has started itself as a node.
func serveNATS(args []string) error {
	flags := flag.NewFlagSet("nats", flag.ContinueOnError)
	name := flags.String("name", "", "")
	dir := flags.String("dir", "", "")
	client := flags.String("client", "", "")
	cluster := flags.String("cluster", "", "")
	routes := flags.String("routes", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	clientHost, clientPort, err := splitAddress(*client)
	clusterHost, clusterPort, err2 := splitAddress(*cluster)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	o := &server.Options{
		ServerName: *name, Host: clientHost, Port: clientPort, NoSigs: true,
		JetStream: true, StoreDir: *dir, SyncAlways: true,
		Cluster: server.ClusterOpts{
			Name: "cluster", Host: clusterHost, Port: clusterPort,
			// NOTE: nobody may find a way past the proxies: what is told leads nowhere.
			Advertise: "127.0.0.1:1", NoAdvertise: true,
		},
	}
	for address := range strings.SplitSeq(*routes, ",") {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: address})
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

var errNoLeader = errors.New("the stream has no leader")

func splitAddress(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(text)
	return host, port, err
}

// natsEngine is three NATS servers, with a proxy on every way to them.
type natsEngine struct {
	nodes []*process
	// routes[i][j] is the way of node i to node j, ways[g][j] that of gateway g.
	routes, ways [][]*proxy
	conn         *nats.Conn
	js           jetstream.JetStream
}

func newNATS(dir string, gateways int) (*natsEngine, error) {
	addresses, err := ports(2 * nodes)
	if err != nil {
		return nil, err
	}
	clients, clusters := addresses[:nodes], addresses[nodes:]
	e := &natsEngine{}
	if e.routes, err = matrix(nodes, clusters); err != nil {
		return nil, err
	}
	if e.ways, err = matrix(gateways, clients); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var urls []string
	for i := range nodes {
		var routes []string
		for j := range nodes {
			if i != j {
				routes = append(routes, e.routes[i][j].address())
			}
		}
		name := "n" + strconv.Itoa(i+1)
		m, err := newMachine(filepath.Join(dir, name+".machine"))
		if err != nil {
			return nil, err
		}
		e.nodes = append(e.nodes, &process{name: name, log: filepath.Join(dir, name+".log"), machine: m, args: []string{
			self, "nats", "-name", name, "-dir", filepath.Join(dir, name),
			"-client", clients[i], "-cluster", clusters[i], "-routes", strings.Join(routes, ","),
		}})
		urls = append(urls, "nats://"+clients[i])
	}
	if e.conn, err = nats.Connect(strings.Join(urls, ","), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.RetryOnFailedConnect(true), nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})); err != nil { // usable says what fails
		return nil, err
	}
	e.js, err = jetstream.New(e.conn)
	return e, err
}

// matrix makes a proxy for each way of n processes to some addresses.
func matrix(n int, to []string) ([][]*proxy, error) {
	all := make([][]*proxy, n)
	for i := range all {
		for _, address := range to {
			p, err := newProxy(address)
			if err != nil {
				return nil, err
			}
			all[i] = append(all[i], p)
		}
	}
	return all, nil
}

func (e *natsEngine) name() string { return "NATS JetStream, 3 servers" }

func (e *natsEngine) start(ctx context.Context, say func(format string, args ...any)) error {
	say("n1, n2 and n3 are started: NATS servers, which choose a leader")
	for _, n := range e.nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	return e.usable(ctx)
}

func (e *natsEngine) stop() {
	for _, n := range e.nodes {
		n.kill()
	}
	e.conn.Close()
	for _, ways := range append(e.routes, e.ways...) {
		for _, p := range ways {
			p.close()
		}
	}
}

func (e *natsEngine) config(gateway int) string {
	var urls []string
	for _, way := range e.ways[gateway] {
		urls = append(urls, strconv.Quote("nats://"+way.address()))
	}
	return fmt.Sprintf("{engine: jetstream, jetstream: {urls: [%s], stream: %s, replicas: %d, sync_always: true}}", strings.Join(urls, ", "), streamName, nodes)
}

// usable writes to a stream of its own until that is acknowledged, and waits until that of the
// gateways has a leader, if there is one: how soon that is possible is the engine's own time.
func (e *natsEngine) usable(ctx context.Context) error {
	for {
		try, cancel := context.WithTimeout(ctx, time.Second)
		_, err := e.js.CreateOrUpdateStream(try, jetstream.StreamConfig{
			Name: "probe", Subjects: []string{"probe"}, Replicas: nodes, MaxMsgs: 1, Storage: jetstream.FileStorage,
		})
		if err == nil {
			_, err = e.js.Publish(try, "probe", nil)
		}
		if err == nil && e.leader(ctx) < 0 {
			if _, err = e.js.Stream(try, streamName); errors.Is(err, jetstream.ErrStreamNotFound) {
				err = nil // the gateways will create it
			} else if err == nil {
				err = errNoLeader
			}
		}
		cancel()
		if err == nil {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

func (e *natsEngine) leads(ctx context.Context) string {
	if i := e.leader(ctx); i >= 0 {
		return e.nodes[i].name
	}
	return "nobody"
}

// leader returns which node leads the stream of the commits; -1 if none does, as far as the
// nodes answer.
func (e *natsEngine) leader(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	stream, err := e.js.Stream(ctx, streamName)
	if err != nil || stream.CachedInfo().Cluster == nil {
		return -1
	}
	for i, n := range e.nodes {
		if n.name == stream.CachedInfo().Cluster.Leader {
			return i
		}
	}
	return -1
}

func (e *natsEngine) cutOff(gateway int) (mend func()) { return cutAll(slices.Values(e.ways[gateway])) }

// isolate cuts a node off from the others, but not from the gateways.
func (e *natsEngine) isolate(node int) (mend func()) {
	return cutAll(func(yield func(*proxy) bool) {
		for i := range nodes {
			for j := range nodes {
				if i != j && (i == node || j == node) && !yield(e.routes[i][j]) {
					return
				}
			}
		}
	})
}
