package doctor

import (
	"net"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server"
)

func TestCheckCommitLog(t *testing.T) {
	c := server.DefaultConfig().Store.CommitLog
	check := func(n int) []Finding {
		findings := checkCommitLog(t.Context(), c)
		if len(findings) != n {
			t.Fatalf("there are %d findings, want %d: %v", len(findings), n, findings)
		}
		return findings
	}
	expect(t, check(1)[0], OK, "the gateway is alone")

	var config net.ListenConfig
	up, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = up.Close() }()
	_ = down.Close()
	c.Engine = server.CommitLogJetStream
	c.JetStream.URLs = []string{"nats://" + up.Addr().String()}
	expect(t, check(1)[0], OK, "shares its events by jetstream")
	c.JetStream.URLs = append(c.JetStream.URLs, "nats://"+down.Addr().String())
	expect(t, check(1)[0], Warn, "the NATS server "+down.Addr().String()+" cannot be reached")
	c.JetStream.URLs = c.JetStream.URLs[1:]
	expect(t, check(2)[1], Fail, "no NATS server can be reached")
	c.Engine, c.PostgreSQL.URL = server.CommitLogPostgreSQL, "postgres://gateway@db-1/webhooks"
	expect(t, check(1)[0], Warn, "speaks plain text")
}

func TestCheckClusterPort(t *testing.T) {
	config := server.DefaultConfig()
	var listen net.ListenConfig
	taken, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config.Cluster.Listen, config.Listen.InternalHTTP = taken.Addr().String(), "127.0.0.1:1"
	if findings := checkClusterPort(t.Context(), config, newGateway(config, nil)); len(findings) != 0 {
		t.Errorf("a gateway alone has no such port: %v", findings)
	}
	config.Store.CommitLog.Engine = server.CommitLogJetStream
	expect(t, checkClusterPort(t.Context(), config, newGateway(config, nil))[0], Fail, "cluster.listen "+taken.Addr().String()+" is taken by another process")
	_ = taken.Close()
	expect(t, checkClusterPort(t.Context(), config, newGateway(config, nil))[0], OK, "is free")
}

// The disk of a copy may be slow, and may be lost.
func TestDiskOfACopy(t *testing.T) {
	store := server.DefaultConfig().Store
	store.Pebble.Path = t.TempDir()
	alone := len(checkDisk(store))
	store.CommitLog.Engine = server.CommitLogJetStream
	copied := checkDisk(store)
	if len(copied) >= alone {
		t.Errorf("the disk of a copy is judged by %v", copied)
	}
}
