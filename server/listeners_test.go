package server

import (
	"strings"
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
