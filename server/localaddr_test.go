package server_test

import (
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server"
)

func TestLocalAddr(t *testing.T) {
	for listen, want := range map[string]string{
		":8081": "127.0.0.1:8081", "0.0.0.0:1": "127.0.0.1:1", "[::]:1": "[::1]:1", "[::ffff:0.0.0.0]:1": "127.0.0.1:1",
		"10.0.0.1:1": "10.0.0.1:1", "[2001:db8::1]:1": "[2001:db8::1]:1", "[fe80::1%eth0]:1": "[fe80::1%eth0]:1",
		"localhost:1": "localhost:1", "gateway.example.com:1": "gateway.example.com:1",
		":0": "", "127.0.0.1:0": "", "nowhere": "",
	} {
		if got := server.LocalAddr(listen); got != want {
			t.Errorf("listening on %q it is reached at %q, not %q", listen, got, want)
		}
	}
}
