package server

import (
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
)

func TestListenersThatMeet(t *testing.T) {
	for _, listen := range []Listen{
		{Webhooks: ":80", GRPC: "127.0.0.1:80", InternalHTTP: ":0"},
		{Webhooks: "0.0.0.0:80", GRPC: "[::1]:80", InternalHTTP: ":0"},
		{Webhooks: "localhost:80", GRPC: "127.0.0.1:80", InternalHTTP: ":0"},
		{Webhooks: "[::1]:80", GRPC: "LocalHost:80", InternalHTTP: ":0"},
		{Webhooks: "127.0.0.1:80", GRPC: "[::ffff:127.0.0.1]:80", InternalHTTP: ":0"},
		{Webhooks: "gateway:80", GRPC: "Gateway:80", InternalHTTP: ":0"},
	} {
		if err := listen.validate(); err == nil || !strings.Contains(err.Error(), "is taken by listen.webhooks") {
			t.Errorf("%v: %v", listen, err)
		}
	}
}

func TestInternalHosts(t *testing.T) {
	for _, name := range []string{"", "gateway:8081", "http://gateway", "*.example.com", ".example.com", "a b", "[::1]"} {
		listen := DefaultConfig().Listen
		listen.InternalHosts = []string{"gateway.example.com", name}
		if err := listen.validate(); err == nil || !strings.Contains(err.Error(), "internal_hosts[1]: ") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestListenersThatDoNotMeet(t *testing.T) {
	for _, listen := range []Listen{
		{Webhooks: ":0", GRPC: ":0", InternalHTTP: "localhost:0"},
		{Webhooks: "127.0.0.1:80", GRPC: "127.0.0.2:80", InternalHTTP: "[::1]:80"},
		{Webhooks: "localhost:80", GRPC: "192.0.2.1:80", InternalHTTP: "gateway:80", InternalHosts: []string{"gateway.example.com", "gateway_1"}},
	} {
		if err := listen.validate(); err != nil {
			t.Errorf("%v: %v", listen, err)
		}
	}
}

func TestListenerOfAnother(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	config := DefaultConfig()
	config.Store.Pebble.Path = t.TempDir()
	config.Listen = Listen{Webhooks: "127.0.0.1:0", GRPC: taken.Addr().String(), InternalHTTP: "127.0.0.1:0"}
	config.Providers.Vezgo.Enabled, config.Providers.Vezgo.AnyClient = true, true
	want := "listen.grpc: another process listens on " + taken.Addr().String() + ": is a gateway running already?"
	if _, err := New(t.Context(), config, slog.New(slog.DiscardHandler)); err == nil || err.Error() != want {
		t.Errorf("New() = %v, want %s", err, want)
	}
	config.Listen.GRPC, config.Access.Insecure = "192.0.2.1:9090", true // an address for documentation
	want = "listen.grpc: 192.0.2.1:9090 is no address of this machine: give one that it has, or leave the host out to listen on all of them"
	if _, err := New(t.Context(), config, slog.New(slog.DiscardHandler)); err == nil || err.Error() != want {
		t.Errorf("New() = %v, want %s", err, want)
	}
	if err := listenError("listen.webhooks", ":80", syscall.EACCES); !strings.Contains(err.Error(), "may not listen on :80: choose a port from 1024 on") {
		t.Errorf("of a port that is not permitted it says %v", err)
	}
}
