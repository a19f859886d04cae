package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	clusterv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/cluster/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/cluster"
	"github.com/webhook-gateway/webhook-gateway/server/connlimit"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
	"github.com/webhook-gateway/webhook-gateway/server/stream"
	"github.com/webhook-gateway/webhook-gateway/server/subscription"
	"github.com/webhook-gateway/webhook-gateway/server/subscriptionservice"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles"
)

// Cluster says how the gateways that share a commit log reach each other: each runs a part
// of the subscriptions for all. Without a commit log nothing of it is used.
type Cluster struct {
	// Listen is the address of the listener for the other gateways.
	Listen string `yaml:"listen"`
	// Advertise is where the others reach that listener, as host:port. Empty: Listen, if that
	// names a host.
	Advertise string `yaml:"advertise"`
	// Secret is the same for all gateways: whoever has it is one of them.
	Secret secret.Secret `yaml:"secret"`
	// PreviousSecret is the one before, while Secret is changed at one gateway after the other.
	PreviousSecret secret.Secret `yaml:"previous_secret"`
	// TLS is that of the listener. A gateway shows its certificate to the others, too, and
	// theirs are checked against ClientCA, or else the roots of the machine.
	TLS tlsfiles.Config `yaml:"tls"`
}

// listenerCluster is the name of the listener for the other gateways.
const listenerCluster = "cluster"

func defaultCluster() Cluster {
	return Cluster{Listen: ":9091", TLS: tlsfiles.Config{MinVersion: "1.3"}}
}

func (c Cluster) validate(commitLog CommitLog) error {
	switch commitLog.Engine {
	case CommitLogJetStream, CommitLogPostgreSQL:
	case CommitLogNone:
		if c.Secret != (secret.Secret{}) || c.PreviousSecret != (secret.Secret{}) || c.Advertise != "" {
			return fielderr.New("", "this is for gateways that share a commit log: give store.commit_log.engine, or remove it")
		}
		return nil
	default:
		return nil // nobody knows what was meant
	}
	errs := []error{fielderr.In("tls", c.TLS.Validate())}
	host, err := hostOf("listen", c.Listen)
	errs = append(errs, err)
	switch _, every := listenIP(host); {
	case c.Advertise != "":
		host, err := hostOf("advertise", c.Advertise)
		if _, every := listenIP(host); err == nil && (every || strings.TrimLeft(c.Advertise[strings.LastIndexByte(c.Advertise, ':')+1:], "0") == "") {
			err = fielderr.New("advertise", "%q names no host, or no port: give the address at which the other gateways reach this one", c.Advertise)
		}
		errs = append(errs, err)
	case err == nil && every:
		errs = append(errs, fielderr.New("advertise", "give the address at which the other gateways reach this one, as host:port: cluster.listen names no host"))
	}
	return errors.Join(append(errs, c.checkSecrets()...)...)
}

func (c Cluster) checkSecrets() (errs []error) {
	if c.Secret == (secret.Secret{}) {
		errs = append(errs, fielderr.New("secret", "is missing: give the same to all gateways, as env:NAME or file:PATH"))
	}
	for _, s := range []struct {
		key string
		secret.Secret
	}{{"secret", c.Secret}, {"previous_secret", c.PreviousSecret}} {
		if s.Secret == (secret.Secret{}) || s.IsUnread() {
			continue
		}
		if err := s.Check(); err != nil {
			errs = append(errs, fielderr.New(s.key, "%v", err))
		}
		if strings.ContainsFunc(s.Reveal(), func(r rune) bool { return r < ' ' || r > '~' }) {
			errs = append(errs, fielderr.New(s.key, "the secret has characters that a header of a call cannot have: give one of printable ASCII, such as `openssl rand -hex 32` makes"))
		}
	}
	return errs
}

// Host returns by which name, or at which address, the other gateways reach this one.
func (c Cluster) Host() string {
	host, _, _ := net.SplitHostPort(cmp.Or(c.Advertise, c.Listen)) // valid
	return host
}

// hostOf returns the host of an address.
func hostOf(key, address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return "", fielderr.New(key, "%q is no address: give host:port, such as 10.0.0.1:9091", address)
	}
	return host, nil
}

// warnings returns what the configuration leaves open, a line each.
func (c Cluster) warnings(shared bool) []string {
	host, _, err := net.SplitHostPort(c.Listen)
	if ip, _ := listenIP(host); !shared || err != nil || ip.IsLoopback() || isLocalhost(host) || c.TLS.Enabled() {
		return nil
	}
	return []string{fmt.Sprintf("cluster.listen (%s) speaks plain text: whoever is on the way reads the secret of the cluster, and may do "+
		"everything with it. Give it a certificate (cluster.tls), or have something encrypt the way there", c.Listen)}
}

// maxPeerHeaderBytes has room for the grants of a caller.
const maxPeerHeaderBytes = 1 << 20

// peers is what a gateway has of the others.
type peers struct {
	cluster  *cluster.Cluster
	listener net.Listener
	server   *grpc.Server
	running  sync.WaitGroup
}

// joinCluster binds the listener for the other gateways, and makes this one a member as soon
// as its copy of the log has everything. Nothing is done if the log is not shared.
func (s *Server) joinCluster(ctx context.Context, registry *prometheus.Registry) (*subscription.Sharing, error) {
	if !s.config.Store.CommitLog.Enabled() {
		return nil, nil //nolint:nilnil // nothing is shared
	}
	c := s.config.Cluster
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return nil, listenError("cluster.listen", c.Listen, err)
	}
	s.closeLater("close the listener "+listenerCluster, func() error { return ignoreClosed(listener.Close()) })
	address := c.Advertise
	if address == "" {
		host, _, _ := net.SplitHostPort(c.Listen)
		_, port, _ := net.SplitHostPort(listener.Addr().String())
		address = net.JoinHostPort(host, port)
	}
	s.peers.cluster, err = cluster.New(cluster.Params{
		States: s.store, Address: address, Dial: cluster.Dial{Secrets: s.peerSecrets, TLS: s.peerTLS()},
		Current: s.copyIsCurrent, Logger: s.logger, Registerer: registry,
	})
	if err != nil {
		return nil, err
	}
	guard := s.peers.cluster.Guard()
	s.peers.server = grpc.NewServer(
		grpc.ForceServerCodecV2(stream.Codec{}),
		grpc.Creds(newBelow()),
		grpc.MaxConcurrentStreams(0),
		// What workers of a gateway whose machine is gone held comes again when its connection
		// is found to be dead.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.ConnectionTimeout(5*time.Second),
		grpc.MaxHeaderListSize(maxPeerHeaderBytes),
		grpc.WaitForHandlers(true), // nothing reads the log after Stop
		grpc.InTapHandle(guard.Tap),
		grpc.ChainUnaryInterceptor(recoverUnary(s.logger), guard.UnaryInterceptor(), knowUnary),
		grpc.ChainStreamInterceptor(recoverStream(s.logger), guard.StreamInterceptor(), knowStream),
	)
	s.closeLater("end the calls of other gateways", func() error {
		s.peers.server.Stop()
		s.peers.running.Wait()
		return nil
	})
	s.closeLater("leave the cluster", func() error { s.leaveCluster(); return nil })
	limited := connlimit.LimitStrangers(
		s.certificates.listener(listenerCluster, connlimit.New(listener, s.shares.Cluster, s.refusedConns.WithLabelValues(listenerCluster).Inc)),
		func(remote net.Addr, why error) {
			s.refusedConns.WithLabelValues(listenerCluster).Inc()
			s.logger.Warn("a connection was closed", "remote", remote, "why", why)
		})
	s.peers.listener = limited
	return &subscription.Sharing{
		Owns: s.peers.cluster.Owns, Certain: s.peers.cluster.Certain, Sync: s.peers.cluster.Sync, Current: s.copyIsCurrent, Address: address,
	}, nil
}

// leaveCluster has the other gateways take over at once. If the log takes nothing, they find
// out by themselves.
func (s *Server) leaveCluster() {
	timeout := closeTimeout
	if !s.copyIsCurrent() {
		timeout = time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := s.peers.cluster.Leave(ctx); err != nil {
		s.logger.Warn("the other gateways were not told that this one ends: they take over after some seconds", "error", err)
	}
}

// copyIsCurrent reports whether the copy of the log that this gateway has is known to have
// all that there was in the log when it was opened.
func (s *Server) copyIsCurrent() bool {
	_, current := s.store.CatchUp()
	return current
}

// peerSecrets returns the secrets in force.
func (s *Server) peerSecrets() cluster.Secrets {
	c := s.inForce.Load().config.Cluster
	return cluster.Secrets{Current: c.Secret, Previous: c.PreviousSecret}
}

// peerTLS returns how other gateways are called: by the certificate that is in force.
func (s *Server) peerTLS() func() *tls.Config {
	current, ok := s.certificates[listenerCluster]
	if !ok {
		return nil
	}
	return func() *tls.Config {
		loaded := current.Get()
		return &tls.Config{MinVersion: loaded.MinVersion, Certificates: loaded.Certificates, RootCAs: loaded.ClientCAs}
	}
}

// PeerCertificateAdvice is what to do about a certificate that the other gateways refuse.
const PeerCertificateAdvice = "have one issued by cluster.tls.client_ca, with the host of cluster.advertise as a name, for servers and for clients"

// peerWarnings returns why the other gateways, which have the same roots, would not take the certificate of this one.
// Who is refused as a client is often not told why.
func (s *Server) peerWarnings(now time.Time) []string {
	current, ok := s.certificates[listenerCluster]
	if !ok || s.peers.cluster == nil {
		return nil
	}
	err := tlsfiles.CheckPeer(current.Get(), s.inForce.Load().config.Cluster.Host(), now)
	if err == nil {
		return nil
	}
	return []string{fmt.Sprintf("the other gateways refuse the certificate of cluster.listen if they have the same cluster.tls.client_ca, %v: %s", err, PeerCertificateAdvice)}
}

// serveCluster has the other gateways call the service of this one, and returns the service
// for clients, which may call the others.
func (s *Server) serveCluster(
	service *subscriptionservice.Service, subscriptions *subscription.Manager, registry *prometheus.Registry,
) (workers, error) {
	if s.peers.cluster == nil {
		return service, nil
	}
	webhookgatewayv1.RegisterSubscriptionServiceServer(s.peers.server, service)
	clusterv1.RegisterPeerServiceServer(s.peers.server, subscriptionservice.NewPeer(service))
	s.peers.running.Go(func() {
		if err := s.peers.server.Serve(s.peers.listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			s.logger.Error("other gateways cannot call this one any more", "error", err)
		}
	})
	watching, end := context.WithCancel(context.Background())
	s.closeLater("end the watch of the cluster", func() error { end(); return nil })
	s.peers.running.Go(func() {
		for {
			view := s.peers.cluster.View()
			subscriptions.Reconcile()
			select {
			case <-view.Changed():
			case <-watching.Done():
				return
			}
		}
	})
	return subscriptionservice.NewRouter(service, s.peers.cluster, registry)
}
