package server

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

// withCommitLog returns a configuration with a commit log, and what gateways that share one
// need.
func withCommitLog(commitLog string) string {
	text := "store: {commit_log: " + commitLog + "}\n"
	if strings.Contains(commitLog, "engine: jetstream") || strings.Contains(commitLog, "engine: postgresql") {
		text += "cluster: {advertise: gateway-1:9091, secret: env:TEST_SECRET}\n"
	}
	return text
}

func TestCommitLogIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		yaml string
		want []string
	}{
		"engine":     {`{engine: kafka}`, []string{`engine: "kafka" is no engine: choose none, jetstream or postgresql`}},
		"no URL":     {`{engine: jetstream}`, []string{"jetstream.urls: give the URLs"}},
		"no engine":  {`{jetstream: {urls: [nats://a]}}`, []string{"engine: is none, and jetstream has a URL: set it to jetstream to share the events"}},
		"no engine2": {`{postgresql: {url: postgres://a}}`, []string{"engine: is none, and postgresql has a URL"}},
		"of the engine": {`{engine: postgresql, postgresql: {table: A-B}}`, []string{
			"postgresql.url: give the URL of the database", `postgresql.table: "A-B" is no name of a table`,
		}},
		"passwords in URLs": {`{engine: jetstream, jetstream: {urls: [nats://a, "nats://u:hunter2@b", "nats://hunter2@c", "nats://u:hunter2%@d"]}}`, []string{
			"jetstream.urls[1]: says who the gateway is", "jetstream.urls[2]: says who", "jetstream.urls[3]: is no URL",
		}},
		"a user without a password": {`{engine: jetstream, jetstream: {urls: [nats://a], username: u}}`, []string{"jetstream.password: is missing"}},
		"two logins": {`{engine: jetstream, jetstream: {urls: [nats://a], password: env:TEST_SECRET, nkey: file}}`, []string{
			"jetstream.password: credentials or nkey say who the gateway is already",
		}},
		"a password that is written": {`{jetstream: {password: hunter2}}`, []string{"jetstream.password: a secret is given as env:NAME or file:PATH"}},
	} {
		path := filepath.Join(t.TempDir(), "gateway.yaml")
		if err := os.WriteFile(path, []byte(valid+withCommitLog(test.yaml)), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path, []string{"TEST_SECRET=a secret"})
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), "store.commit_log."+want) {
				t.Errorf("%s: got %v, want %q", name, err, want)
			}
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error has the password: %v", name, err)
		}
		if problems := fielderr.All(err); err != nil && len(problems) != 0 && len(problems) > len(test.want) {
			t.Errorf("%s: more is wrong: %v", name, err)
		}
	}
}

// What an engine is given has the passwords; nothing that is printed has them.
func TestPasswordsOfCommitLogs(t *testing.T) {
	const password = `p@ss:w/rd' \`
	config := DefaultConfig()
	c := &config.Store.CommitLog
	c.JetStream.Password = secret.New(password)
	c.JetStream.URLs = []string{"nats://a:4222", "tls://b"}
	const escaped = "p%40ss%3Aw%2Frd%27%20%5C"
	if got, want := c.JetStream.connection().URLs, []string{"nats://" + escaped + "@a:4222", "tls://" + escaped + "@b"}; !slices.Equal(got, want) {
		t.Errorf("a token makes %q, want %q", got, want)
	}
	c.JetStream.Username = "the gateway"
	if got, want := c.JetStream.connection().URLs[1], "tls://the%20gateway:"+escaped+"@b"; got != want {
		t.Errorf("a user makes %q, want %q", got, want)
	}
	if got := c.JetStream.URLs[0]; got != "nats://a:4222" {
		t.Errorf("the configuration has %q by now", got)
	}
	text, err := yaml.Dump(config)
	if err != nil {
		t.Fatal(err)
	}
	if printed := string(text) + fmt.Sprintf("%+v", config); strings.Contains(printed, "rd'") || strings.Contains(printed, "p%40") {
		t.Errorf("a password is printed:\n%s", printed)
	}
}

func TestCommitLogWarnings(t *testing.T) {
	for text, want := range map[string][]string{
		`{engine: none}`: nil,
		`{engine: jetstream, jetstream: {urls: ["nats://127.0.0.1:4222", "tls://a"]}}`:                 nil,
		`{engine: jetstream, jetstream: {urls: [nats://a], tls: {ca: x}}}`:                             nil,
		`{engine: jetstream, jetstream: {urls: [tls://a, nats://b, nats://c], replicas: 1}}`:           {"jetstream.replicas: is 1", "jetstream.urls[1]: speaks plain text"},
		`{engine: postgresql, postgresql: {url: "postgres://u@localhost:5432,[::1]/d"}}`:               nil,
		`{engine: postgresql, postgresql: {url: "postgres:///d?host=/run/postgresql"}}`:                nil,
		`{engine: postgresql, postgresql: {url: "postgres://u@localhost,db-2:5432/d?sslmode=prefer"}}`: {"postgresql.url: speaks plain text"},
		`{engine: postgresql, postgresql: {url: "postgres://u@db-1:5432,db-2/d?sslmode=verify-full"}}`: nil,
		`{engine: postgresql, postgresql: {url: "host=db-1 sslmode='require'"}}`:                       nil,
	} {
		path := filepath.Join(t.TempDir(), "gateway.yaml")
		if err := os.WriteFile(path, []byte(valid+withCommitLog(text)), 0o600); err != nil {
			t.Fatal(err)
		}
		config, err := Load(path, []string{"TEST_SECRET=a secret"})
		if err != nil {
			t.Fatal(err)
		}
		got := config.Store.CommitLog.Warnings()
		if len(got) != len(want) {
			t.Errorf("%s: %q", text, got)
			continue
		}
		for i := range want {
			if !strings.HasPrefix(got[i], "store.commit_log."+want[i]) {
				t.Errorf("%s: %q, want %q", text, got[i], want[i])
			}
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[commitlog.Sequence]string{0: "0", 999: "999", 1200: "1,200", 40000: "40,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}
