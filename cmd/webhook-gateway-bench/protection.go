package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
)

// protection is what a gateway is configured to do beside taking and handing out events.
type protection struct {
	name   string
	config string // more of its YAML
	store  string // more of its section store
	tls    *tls.Config
	token  string
}

// bearer shows a token with each call.
type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (bearer) RequireTransportSecurity() bool { return false }

// measureProtection measures the processor time of the gateway for each event, with each
// protection and without any. One round is one run of each, in turns: what is printed is
// by how much a run differs from the run without protection of its round.
func measureProtection(ctx context.Context, s *settings) error {
	collector, stop, err := startCollector()
	if err != nil {
		return err
	}
	defer stop()
	certificate, err := writeCertificate(s.dir)
	if err != nil {
		return err
	}
	granted := func(name, grant string) protection {
		token, sum := access.NewToken()
		return protection{name: name, token: token, config: fmt.Sprintf(
			"access: {tokens: {bench: {sha256: %s, grants: [read]}}, grants: {read: %s}}\n", sum, grant)}
	}
	none := protection{name: "none"}
	encrypted := protection{name: "TLS 1.3", tls: &tls.Config{InsecureSkipVerify: true}, config: certificate} //nolint:gosec // its own, over loopback
	grant := granted("a grant of nine clients and a type", "{filters: [{client_ids: [bench, client-1, client-2, client-3, client-4, client-5, client-6, client-7, client-0], event_types: [vezgo.SyncAccount]}]}")
	masked := granted("a grant that masks subjects and names", "{filters: [{}], mask: [subject, name]}")
	traced := protection{name: "traces of all", config: "telemetry: {endpoint: \"" + collector + "\", insecure: true}\n"}

	script, err := writeLoad(s, loads()[0])
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Processor time of the gateway for each event; %d rounds; the median difference, and its interval of at least 95 %%.\n\n", s.rounds)
	fmt.Fprintln(s.out, "| what | protection | µs an event | difference | interval |")
	fmt.Fprintln(s.out, "|---|---|---|---|---|")
	if err := compare(s, "ingest, Vezgo", []protection{none, encrypted, grant, traced}, func(with protection) (float64, error) {
		var m series
		err := m.add(ctx, s, script, func() (*process, error) { return startProtected(ctx, s, ingestStore, with) })
		if err != nil {
			return 0, err
		}
		return m.cpu[0], nil
	}); err != nil {
		return err
	}
	if err := fillStore(ctx, s, "protected", s.events); err != nil {
		return err
	}
	return compare(s, "catch-up", []protection{none, encrypted, grant, masked}, func(with protection) (float64, error) {
		return catchUpCPU(ctx, s, with)
	})
}

// catchUpCPU returns the microseconds of the processor that the gateway takes for each
// event of a catch-up.
func catchUpCPU(ctx context.Context, s *settings, with protection) (float64, error) {
	g, err := startProtected(ctx, s, "protected", with)
	if err != nil {
		return 0, err
	}
	defer g.stop()
	before, err := g.cpuSoFar()
	if err != nil {
		return 0, err
	}
	events, err := readAll(ctx, g, counting(), webhookgatewayv1.EventView_EVENT_VIEW_FULL)
	if err == nil && events != s.events {
		err = fmt.Errorf("received %d of %d events", events, s.events)
	}
	if err != nil {
		return 0, err
	}
	after, err := g.cpuSoFar()
	return float64((after - before).Microseconds()) / float64(events), err
}

// compare measures protections in turns, the first of which is none, and prints a row of
// each.
func compare(s *settings, what string, protections []protection, measure func(protection) (float64, error)) error {
	cost := make([][]float64, len(protections))
	for round := range s.rounds {
		for turn := range protections {
			i := (round + turn) % len(protections) // no one is always the first
			p := protections[i]
			micros, err := measure(p)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", what, p.name, err)
			}
			cost[i] = append(cost[i], micros)
		}
	}
	fmt.Fprintf(s.out, "| %s | none | %.2f | | |\n", what, median(cost[0]))
	for i, p := range protections[1:] {
		var differences []float64
		for round, micros := range cost[i+1] {
			differences = append(differences, 100*(micros/cost[0][round]-1))
		}
		low, high := interval(differences)
		fmt.Fprintf(s.out, "| %s | %s | %.2f | **%+.1f %%** | %+.1f to %+.1f %% |\n", what, p.name, median(cost[i+1]), median(differences), low, high)
	}
	return nil
}

// interval returns an interval that holds the median of what the values are drawn from
// with a probability of at least 95 %, if there are at least six of them: so many values
// are left out at each end that it is as unlikely as that to be outside of the others.
func interval(values []float64) (low, high float64) {
	sorted := slices.Sorted(slices.Values(values))
	n, out := len(sorted), 0
	// The number of values below the median is that of heads in n throws of a coin.
	ways, below, all := 1.0, 0.0, float64(uint64(1)<<min(n, 62))
	for k := range n / 2 {
		below += ways
		if 2*below/all > 0.05 {
			break
		}
		out = k
		ways = ways * float64(n-k) / float64(k+1)
	}
	return sorted[out], sorted[n-1-out]
}

// startCollector starts a collector of traces that throws them away.
func startCollector() (addr string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed by stop
	if err != nil {
		return "", nil, err
	}
	server := grpc.NewServer(grpc.Creds(insecure.NewCredentials()), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
			return err
		}
		return stream.SendMsg(&emptypb.Empty{})
	}))
	go func() { _ = server.Serve(listener) }() // it ends with stop
	return listener.Addr().String(), server.Stop, nil
}

// writeCertificate makes a certificate for loopback, and returns the section of the
// configuration that gives it to all listeners.
func writeCertificate(dir string) (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return "", err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600); err != nil {
		return "", err
	}
	return fmt.Sprintf("tls: {webhooks: {certificate: %[1]q, key: %[2]q}, grpc: {certificate: %[1]q, key: %[2]q}}\n", certFile, keyFile), nil
}
