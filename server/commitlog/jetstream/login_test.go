package jetstream

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog/jetstream/jetstreamtest"
)

func TestUserAndPassword(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Start(t, 1, `authorization { users: [ { user: gateway, password: "s3cret" } ] }`)
	url := c.Nodes[0].URL
	config := configFor(c)
	config.URLs = []string{at(url, "gateway:s3cret")}
	wantOpen(t, config)
	config.URLs = []string{at(url, "gateway:s3cret-no"), "nats://127.0.0.1:1"}
	wantRefused(t, config, url+": nats: Authorization Violation", "does not know the user and password", "nats://127.0.0.1:1: ")
	config.URLs = []string{url}
	wantRefused(t, config, "Authorization Violation", "it asks for credentials: give")
}

func TestNKey(t *testing.T) {
	t.Parallel()
	user, _ := nkeys.CreateUser()
	other, _ := nkeys.CreateUser()
	public, _ := user.PublicKey()
	c := jetstreamtest.Start(t, 1, fmt.Sprintf("authorization { users: [ { nkey: %s } ] }", public))
	config := configFor(c)
	seed, _ := user.Seed()
	config.NKey = write(t, "user.nk", seed)
	wantOpen(t, config)
	seed, _ = other.Seed()
	config.NKey = write(t, "other.nk", seed)
	wantRefused(t, config, "Authorization Violation", "does not know the key of "+config.NKey)
	account, _ := nkeys.CreateAccount()
	seed, _ = account.Seed()
	config.NKey = write(t, "account.nk", seed)
	wantRefused(t, config, "nkey: "+config.NKey+" has no seed of a user's key")
}

// jwtServer is a server with an operator and an account, whose users have JWTs.
type jwtServer struct {
	*jetstreamtest.Cluster
	account nkeys.KeyPair
}

func startJWTServer(t *testing.T, limits jwt.JetStreamLimits) jwtServer {
	operator, _ := nkeys.CreateOperator()
	operatorKey, _ := operator.PublicKey()
	operatorJWT, err := jwt.NewOperatorClaims(operatorKey).Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	makeAccount := func(name string, limits jwt.JetStreamLimits) (nkeys.KeyPair, string, string) {
		account, _ := nkeys.CreateAccount()
		key, _ := account.PublicKey()
		claims := jwt.NewAccountClaims(key)
		claims.Name, claims.Limits.JetStreamLimits = name, limits
		text, err := claims.Encode(operator)
		if err != nil {
			t.Fatal(err)
		}
		return account, key, text
	}
	_, system, systemJWT := makeAccount("SYS", jwt.JetStreamLimits{})
	account, key, accountJWT := makeAccount("gateway", limits)
	return jwtServer{jetstreamtest.Start(t, 1, fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: { %s: %s, %s: %s }",
		operatorJWT, system, system, systemJWT, key, accountJWT)), account}
}

// credentials returns the path of those of a user, who is valid until a time.
func (s jwtServer) credentials(t *testing.T, until time.Time) string {
	user, _ := nkeys.CreateUser()
	key, _ := user.PublicKey()
	claims := jwt.NewUserClaims(key)
	claims.Expires = until.Unix()
	text, err := claims.Encode(s.account)
	if err != nil {
		t.Fatal(err)
	}
	seed, _ := user.Seed()
	file, err := jwt.FormatUserConfig(text, seed)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "user.creds", file)
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	s := startJWTServer(t, jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1})
	config := configFor(s.Cluster)
	config.Credentials = s.credentials(t, time.Now().Add(time.Hour))
	wantOpen(t, config)
	config.Credentials = s.credentials(t, time.Now().Add(-time.Hour))
	wantRefused(t, config, "nats: ", config.Credentials)
	stranger := s
	stranger.account, _ = nkeys.CreateAccount()
	config.Credentials = stranger.credentials(t, time.Now().Add(time.Hour))
	wantRefused(t, config, "Authorization Violation", "does not know the user of "+config.Credentials)
}

// TestCredentialsThatArePutRight: a gateway whose credentials expire while it runs goes on when the
// file has new ones.
func TestCredentialsThatArePutRight(t *testing.T) {
	t.Parallel()
	s := startJWTServer(t, jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1})
	config := configFor(s.Cluster)
	open := func(valid time.Duration) (*Log, error) {
		config.Credentials = s.credentials(t, time.Now().Add(valid))
		ctx, cancel := context.WithTimeout(t.Context(), valid)
		defer cancel()
		return Open(ctx, config, slog.New(slog.DiscardHandler))
	}
	valid := 3 * time.Second
	log, err := open(valid)
	for err != nil && valid < time.Minute { // they have expired before it was open, on a busy machine
		valid *= 3
		log, err = open(valid)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	eventually(t, "Err() says that they have expired", func() bool {
		err := log.Err()
		return err != nil && (strings.Contains(err.Error(), "expired") || strings.Contains(err.Error(), "Authorization"))
	})
	fresh, err := os.ReadFile(s.credentials(t, time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config.Credentials, fresh, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Err() is nil", func() bool { return log.Err() == nil })
}

func TestAccountsWithLimits(t *testing.T) {
	t.Parallel()
	for says, limits := range map[string]jwt.JetStreamLimits{
		"enable JetStream for the account":                     {},
		"raise the limits of JetStream for the account, or on": {MemoryStorage: -1, DiskStorage: -1, Streams: 1, Consumer: -1},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			s := startJWTServer(t, limits)
			config := configFor(s.Cluster)
			config.Credentials = s.credentials(t, time.Now().Add(time.Hour))
			if limits.Streams == 1 {
				wantOpen(t, config)
				config.Stream += "-another"
			}
			wantRefused(t, config, says)
		})
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	config := DefaultConfig()
	all := config.published()
	for i := range all {
		all[i] = `"` + strings.TrimSuffix(all[i], "*") + `"`
		if strings.HasSuffix(all[i], `."`) {
			all[i] = strings.TrimSuffix(all[i], `"`) + `*"`
		}
	}
	create := `"` + config.createSubject() + `"`
	user := func(name, publish, subscribe string) string {
		return fmt.Sprintf("{ user: %s, password: s3cret, permissions: { publish: { allow: [ %s ] }, subscribe: { allow: [ %q ] } } }\n", name, publish, subscribe)
	}
	users := user("full", strings.Join(append(all, create), ","), "_INBOX.>") + user("deaf", strings.Join(all, ","), "none") +
		user("nocreate", strings.Join(all, ","), "_INBOX.>")
	for i := range all {
		users += user(fmt.Sprint("no", i), strings.Join(append(append([]string{create}, all[:i]...), all[i+1:]...), ","), "_INBOX.>")
	}
	c := jetstreamtest.Start(t, 1, "authorization { users: [\n"+users+"] }")
	with := func(user string) Config {
		config := configFor(c)
		config.Stream = DefaultConfig().Stream
		config.URLs = []string{at(c.Nodes[0].URL, user+":s3cret")}
		return config
	}
	wantRefused(t, with("nocreate"), `for Publish to "`+config.createSubject(), "grant the user of the gateway: publish to")
	wantOpen(t, with("full"))
	full := mustOpen(t, with("full"))
	mustSettle(t, full, 0, "first")
	wantOpen(t, with("nocreate")) // it is there now
	wantRefused(t, with("deaf"), "for Subscription to", "subscribe to _INBOX.>")
	for i, subject := range config.published() {
		wantRefused(t, with(fmt.Sprint("no", i)), fmt.Sprintf("for Publish to %q", strings.Replace(subject, "*", "permission", 1)), "grant the user")
	}
	if n := len(readN(t, full, 1)); n != 1 {
		t.Errorf("whoever looks what is permitted leaves %d commits", n)
	}
}
