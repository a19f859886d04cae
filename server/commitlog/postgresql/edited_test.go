package postgresql

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// TestRightIsRevoked: while commits are refused Err says why, without a break, although the server can be asked. When
// the right is given back, the commit goes through.
func TestRightIsRevoked(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	server.exec(`CREATE ROLE guest LOGIN; GRANT USAGE, CREATE ON SCHEMA "public" TO guest`)
	config := configOf(server)
	config.URL = strings.Replace(config.URL, "gateway@", "guest@", 1)
	log := openLog(t, config)
	after := settle(t, log, 0, "first")
	server.exec("REVOKE INSERT ON webhook_gateway_commits FROM guest")
	settled := make(chan error, 1)
	go func() {
		_, err := commitlog.Settle(bounded(t), log, after, []byte("second"))
		settled <- err
	}()
	eventually(t, "Err() says so", func() bool { err := log.Err(); return err != nil && strings.Contains(err.Error(), "permission denied") })
	for end := time.Now().Add(6 * pollInterval); time.Now().Before(end); <-time.After(time.Millisecond) {
		if log.Err() == nil {
			t.Fatal("Err() is nil, and commits are refused")
		}
	}
	server.exec("GRANT INSERT ON webhook_gateway_commits TO guest")
	if err := <-settled; err != nil {
		t.Error(err)
	}
	eventually(t, "Err() is nil", func() bool { return log.Err() == nil })
}

// TestTablesAreDropped: and another gateway makes them anew. The one that had them open knows how far they are now.
func TestTablesAreDropped(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	log := openLog(t, configOf(server))
	var after commitlog.Sequence
	for range 5 {
		after = settle(t, log, after, "before")
	}
	server.exec("DROP TABLE webhook_gateway_commits, webhook_gateway_facts")
	eventually(t, "Err() says so", func() bool { return log.Err() != nil })
	if at, err := log.Append(bounded(t), after, []byte("nowhere")); err == nil {
		t.Errorf("Append() = %d", at)
	}
	settle(t, openLog(t, configOf(server)), 0, "after")
	eventually(t, "the new commit is read", func() bool {
		for next, err := range log.Read(t.Context(), 0) {
			return err == nil && string(next.Bytes) == "after"
		}
		return false
	})
	if at, err := log.Append(bounded(t), after, []byte("nowhere")); err == nil {
		t.Errorf("Append() = %d", at)
	}
	second := []byte("second")
	eventually(t, "it goes on in the new one", func() bool { // once it knows that the old end is lost
		at, err := commitlog.Settle(bounded(t), log, 1, second)
		return err == nil && at == 2
	})
	eventually(t, "Err() is nil", func() bool { return log.Err() == nil })
	if newest := log.Newest(); newest != 2 {
		t.Errorf("Newest() = %d", newest)
	}
}

// TestPartitionIsDropped: the one that commits go to.
func TestPartitionIsDropped(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	log := openLog(t, configOf(server))
	after := settle(t, log, settle(t, log, 0, "first"), "second")
	server.exec("DROP TABLE webhook_gateway_commits_0")
	if at, err := log.Append(bounded(t), after, []byte("third")); err == nil {
		t.Errorf("Append() = %d", at)
	}
	eventually(t, "the end is known", func() bool { return log.Newest() == 0 })
	settle(t, log, 0, "new")
	if got := awaitRead(t, openLog(t, configOf(server)), 0, 1); !slices.Equal(got, []string{"new"}) {
		t.Errorf("it reads %q", got)
	}
}

// A proxy is between a gateway and its server. What is connected while it is frozen hears nothing any more, and is not told so.
type proxy struct {
	frozen atomic.Int64 // connections up to this number are
	last   atomic.Int64
}

func (p *proxy) freeze() { p.frozen.Store(p.last.Load()) }

func startProxy(t *testing.T, to string) (p *proxy, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	p = new(proxy)
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			n := p.last.Add(1)
			go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
			go func() {
				defer func() { _ = client.Close() }()
				buffer := make([]byte, 1<<16)
				for {
					read, err := server.Read(buffer)
					if err != nil {
						return
					}
					if n <= p.frozen.Load() {
						continue // on its way for ever
					}
					if _, err := client.Write(buffer[:read]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return p, listener.Addr().String()
}

// TestConnectionsHang: the server has stored a commit, and neither the answer nor the end of the connection arrives.
// The commit is found to be there.
func TestConnectionsHang(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	p, address := startProxy(t, strings.TrimSuffix(strings.TrimPrefix(server.url(), "postgres://gateway@"), "/postgres"))
	config := configOf(server)
	config.URL = "postgres://gateway@" + address + "/postgres"
	log := openLog(t, config)
	after := settle(t, log, 0, "first")
	p.freeze()
	began := time.Now()
	if second := settle(t, log, after, "second"); second != after+1 {
		t.Errorf("it is at %d", second)
	}
	if took := time.Since(began); took > appendTimeout+heal {
		t.Errorf("it takes %v", took)
	}
	if got := ask[int](server, "SELECT count(*) FROM webhook_gateway_commits"); got != 2 {
		t.Errorf("%d commits", got)
	}
	eventually(t, "Err() is nil", func() bool { return log.Err() == nil })
	t.Logf("after %v", time.Since(began))
}
