package server

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLoadRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		yaml    string
		environ []string
		want    []string // each is in the error; FILE stands for the path
	}{
		"unknown key": {
			yaml: valid + "listn: {}\n",
			want: []string{"FILE:7: listn: unknown key: did you mean listen?"},
		},
		"a header with a secret is stored": {
			yaml: valid + "      other: {verification: off, required_header: {name: x-token, secret: env:TEST_SECRET}}\nwebhooks: {stored_headers: [X-Token, User Agent]}\n",
			want: []string{
				"webhooks.stored_headers[0]: X-Token holds a required secret",
				`webhooks.stored_headers[1]: "User Agent" is no name of an HTTP header`,
			},
		},
		"unknown inner key": {
			yaml: valid + "store:\n  retention:\n    max_agee: 1h\n",
			want: []string{"FILE:9: store.retention.max_agee: unknown key: did you mean store.retention.max_age?"},
		},
		"unknown key like no other": {
			yaml: valid + "shutdown: {xylophone: 1}\n",
			want: []string{"FILE:7: shutdown.xylophone: unknown key: known here are timeout, delay"},
		},
		"unknown key in a map": {
			yaml: valid + "      other:\n        secret: env:TEST_SECRET\n",
			want: []string{"FILE:8: providers.finicity.clients.other.secret: unknown key: did you mean providers.finicity.clients.other.secrets?"},
		},
		"a tab": {
			yaml: "providers:\n\tvezgo: {enabled: true}\n", want: []string{":2: a value begins here with a tab", "indent by spaces"},
		},
		"unknown key by an alias": {
			yaml: "listen: &a {http: x}\nstore: *a\n",
			want: []string{"FILE:1: listen.http: unknown key", "FILE:1: store.http: unknown key"},
		},
		"duplicate key": {
			yaml: valid + "listen: {}\nlisten: {}\n",
			want: []string{"FILE:8: listen: the key is there twice, first in line 7"},
		},
		"wrong type": {
			yaml: valid + "shutdown: {timeout: soon}\n",
			want: []string{`FILE:7: shutdown.timeout: must be a duration such as 30s or 720h, not "soon"`},
		},
		"not YAML": {
			yaml: "listen: {\n",
			want: []string{"FILE:"},
		},
		"two documents": {
			yaml: "listen: {}\n---\nlog: {}\n",
			want: []string{"FILE:", "one YAML document"},
		},
		"secret in the file": {
			yaml: "providers:\n  vezgo:\n    enabled: true\n    url_secret: hunter2\n",
			want: []string{"FILE:4: providers.vezgo.url_secret: a secret is given as env:NAME or file:PATH"},
		},
		"all values at once": {
			yaml:    valid + "log: {format: xml}\nlisten: {grpc: nowhere}\n",
			environ: []string{"WEBHOOK_GATEWAY_STORE_PEBBLE_PATH=", "WEBHOOK_GATEWAY_SHUTDOWN_TIMEOUT=-1s"},
			want: []string{
				`log.format: "xml"`, `listen.grpc: "nowhere"`, "store.pebble.path: ", "shutdown.timeout: must be a positive duration such as 30s, not -1s",
			},
		},
		"no provider":    {want: []string{"providers: no provider is enabled: set finicity.enabled or vezgo.enabled"}},
		"engine":         {yaml: valid + "store: {engine: paper}\n", want: []string{`store.engine: "paper" is no engine: choose pebble`}},
		"shutdown delay": {yaml: valid + "shutdown: {delay: -1s}\n", want: []string{"shutdown.delay: must be a positive duration such as 5s, or 0; not -1s"}},
		"unknown variables": {
			yaml:    valid,
			environ: []string{"WEBHOOK_GATEWAY_STORE_PEBBLE_PAHT=x", "WEBHOOK_GATEWAY_MY_PARTNER_SECRET_OF_FINICITY=x", "WEBHOOK_GATEWAY_STORE_PORT=8080"},
			want: []string{
				"WEBHOOK_GATEWAY_STORE_PEBBLE_PAHT sets no key: did you mean WEBHOOK_GATEWAY_STORE_PEBBLE_PATH?",
				"WEBHOOK_GATEWAY_MY_PARTNER_SECRET_OF_FINICITY sets no key: names with the prefix WEBHOOK_GATEWAY_ are reserved",
				"WEBHOOK_GATEWAY_STORE_PORT sets no key",
			},
		},
		"variable of a wrong type": {
			yaml:    valid,
			environ: []string{"WEBHOOK_GATEWAY_DEBUG_PPROF=maybe"},
			want:    []string{`WEBHOOK_GATEWAY_DEBUG_PPROF: debug.pprof: must be true or false, not "maybe"`},
		},
		"empty variable": {
			yaml:    valid,
			environ: []string{"WEBHOOK_GATEWAY_SHUTDOWN_TIMEOUT="},
			want:    []string{"WEBHOOK_GATEWAY_SHUTDOWN_TIMEOUT: shutdown.timeout: a value is expected"},
		},
		"unknown key in a variable": {
			yaml:    valid,
			environ: []string{"WEBHOOK_GATEWAY_PROVIDERS_FINICITY_CLIENTS={a: {secert: {}}}"},
			want:    []string{"WEBHOOK_GATEWAY_PROVIDERS_FINICITY_CLIENTS: providers.finicity.clients.a.secert: unknown key"},
		},
		"secret in a variable": {
			yaml:    valid,
			environ: []string{"WEBHOOK_GATEWAY_PROVIDERS_VEZGO_URL_SECRET=hunter2"},
			want:    []string{"WEBHOOK_GATEWAY_PROVIDERS_VEZGO_URL_SECRET: providers.vezgo.url_secret: a secret is given as env:NAME or file:PATH"},
		},
		"one port twice": {
			yaml: valid + `listen: {webhooks: "127.0.0.1:9000", grpc: ":9000", internal_http: "[::1]:9000"}` + "\n",
			want: []string{
				`listen.grpc: ":9000" is taken by listen.webhooks: give each listener a port of its own`,
				`listen.internal_http: "[::1]:9000" is taken by listen.grpc`,
			},
		},
		"one address twice": {
			yaml: valid + `listen: {webhooks: "127.0.0.1:9000", grpc: "[::ffff:127.0.0.1]:9000"}` + "\n",
			want: []string{`listen.grpc: "[::ffff:127.0.0.1]:9000" is taken by listen.webhooks`},
		},
		"open to others": {
			yaml: valid + `listen: {grpc: ":9090", internal_http: "10.0.0.1:8081"}` + "\n",
			want: []string{
				`listen.grpc: ":9090" can be reached by other machines, and nobody needs credentials there: say in access who may call, ` +
					`listen on 127.0.0.1, or set access.insecure: true`,
				`listen.internal_http: "10.0.0.1:8081" can be reached by other machines`,
			},
		},
		"no port": {yaml: valid + `listen: {grpc: "localhost:65536"}`, want: []string{`listen.grpc: "localhost:65536" is no address`}},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeConfig(t, test.yaml)
			_, err := Load(path, append(test.environ, "TEST_SECRET=partner secret"))
			if err == nil {
				t.Fatal("the configuration was accepted")
			}
			for _, want := range test.want {
				if want = strings.ReplaceAll(want, "FILE", path); !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q:\n%v", want, err)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error has the secret: %v", err)
			}
		})
	}
}

// Everything that is wrong is reported at once: what does not load, what does not
// hold, in every section, and several problems of one client.
func TestLoadReportsAllProblemsAtOnce(t *testing.T) {
	path := writeConfig(t, `listen: {webhooks: "nowhere", grpc: ":8081", internal_http: ":8081"}
access: {insecure: true}
log: {level: loud, format: xml}
webhooks:
  max_body_bytes: many
  idle_timeout: 0s
  trusted_proxies: [10.0.0.0/8, proxy, 0.0.0.0/0]
  stored_headers: [[a], X Y]
providers:
  finicity:
    enabled: true
    clients:
      acme:
        required_header: {name: X Secret}
      a/b:
        verification: off
      reports:
        verification: never
        secrets: hunter2
        required_header: {name: x-finicity-signature}
  vezgo:
    enabled: true
    clients: [app, ""]
    source_addresses: [here, {a: b}, "::ffff:10.0.0.0/104", 0.0.0.0/0]
    urlsecret: hunter2
store: {engine: paper, retention: {interval: 0s}, dedup_window: 1h}
streams: {max_streams: 0}
`)
	_, err := Load(path, []string{"WEBHOOK_GATEWAY_SHUTDOWN_TIMEOUT=-1s", "WEBHOOK_GATEWAY_STREAMS_DEFAULT_HEARTBEAT=soon"})
	if err == nil {
		t.Fatal("the configuration was accepted")
	}
	want := `FILE:3: log.level: must be debug, info, warn or error, not "loud"
FILE:5: webhooks.max_body_bytes: must be a whole number, not "many"
FILE:8: webhooks.stored_headers[0]: must be a text
FILE:18: providers.finicity.clients.reports.verification: "never" is no verification mode: choose enforce, report or off
FILE:19: providers.finicity.clients.reports.secrets: must be a mapping such as {name: ...}
FILE:24: providers.vezgo.source_addresses[1]: must be a text
FILE:25: providers.vezgo.urlsecret: unknown key: did you mean providers.vezgo.url_secret?
WEBHOOK_GATEWAY_STREAMS_DEFAULT_HEARTBEAT: streams.default_heartbeat: must be a duration such as 30s or 720h, not "soon"
listen.webhooks: "nowhere" is no address: give host:port, such as :8080 or 127.0.0.1:8080
listen.internal_http: ":8081" is taken by listen.grpc: give each listener a port of its own
log.format: "xml" is no format: choose text or json
webhooks.idle_timeout: must be a positive duration such as 30s, not 0s
webhooks.trusted_proxies[1]: "proxy": give an address such as 10.0.0.7 or a network such as 10.0.0.0/8
webhooks.trusted_proxies[2]: "0.0.0.0/0": this trusts everybody: name the networks of your proxies
webhooks.stored_headers[1]: "X Y" is no name of an HTTP header: give letters, digits and hyphens
providers.finicity.clients."a/b": no webhook URL can name this client: choose an id without a slash, other than one dot or two
providers.finicity.clients.acme.secrets: give the Partner Secret under a name, or set verification to off
providers.finicity.clients.acme.required_header.name: "X Secret" is no name of an HTTP header: choose letters, digits and hyphens
providers.finicity.clients.acme.required_header.secret: the secret is empty
providers.finicity.clients.reports.required_header.name: X-Finicity-Signature is the signature, choose another header
providers.finicity.clients.reports.required_header.secret: the secret is empty
providers.vezgo.clients[1]: the client id is empty
providers.vezgo.source_addresses[0]: "here" is neither an address nor a network such as 192.0.2.0/24
providers.vezgo.source_addresses[2]: write the IPv4-mapped network "::ffff:10.0.0.0/104" as IPv4
providers.vezgo.source_addresses[3]: "0.0.0.0/0" is too wide: nothing but the source address tells that a delivery is Vezgo's, so whoever has one of these could send what counts as verified. Give the addresses, or networks of /16 (IPv6: /48) or narrower; to accept deliveries from anywhere set verification to report or off
store.engine: "paper" is no engine: choose pebble
store.retention.interval: must be a positive duration such as 1m, not 0s
store.dedup_window: must be at least 168h0m0s, as long as providers may retry; not 1h0m0s
streams.max_streams: must be at least 1, not 0
shutdown.timeout: must be a positive duration such as 30s, not -1s`
	if diff := cmp.Diff(strings.ReplaceAll(want, "FILE", path), err.Error()); diff != "" {
		t.Errorf("the problems differ (-want +got):\n%s", diff)
	}
}

// What does not load is described in words of the configuration: no Go type, and
// never what was given where a secret belongs.
func TestLoadSaysWhatIsExpected(t *testing.T) {
	client := func(text string) string {
		return "providers: {finicity: {enabled: true, clients: {acme: {" + text + "}}}}\n"
	}
	for yaml, want := range map[string]string{
		client("secrets: hunter2"):                           "clients.acme.secrets: must be a mapping",
		client("secrets: [hunter2]"):                         "clients.acme.secrets: must be a mapping",
		client("secrets: {a: hunter2}"):                      "clients.acme.secrets.a: a secret is given as env:NAME",
		client("secrets: {a: [hunter2]}"):                    "clients.acme.secrets.a: a secret is given as env:NAME",
		client("secrets: {a: {b: hunter2}}"):                 "clients.acme.secrets.a: a secret is given as env:NAME",
		client("secrets: {a: !!int hunter2}"):                "clients.acme.secrets.a: a secret is given as env:NAME",
		client("secrets: {a: *hunter2}"):                     "put a text that begins with * in quotes",
		client("secrets: {<<: hunter2}"):                     "clients.acme.secrets: must be a mapping",
		client("secrets: {[hunter2]: env:A}"):                "the name of a key must be a text",
		client("required_header: hunter2"):                   "required_header: must be a mapping with the keys name, secret",
		client("required_header: {name: [a]}"):               "required_header.name: must be a text",
		"providers: {vezgo: {enabled: 3}}\n":                 `providers.vezgo.enabled: must be true or false, not "3"`,
		"listen: 5\n":                                        "listen: must be a mapping with the keys webhooks, grpc, internal_http",
		"log: {format: !!bool x}\n":                          "log.format: must be a text",
		"webhooks: {rate_limit: {burst: 1.5}}\n":             "webhooks.rate_limit.burst: must be a whole number",
		"webhooks: {rate_limit: {requests_per_second: x}}\n": "webhooks.rate_limit.requests_per_second: must be a number",
		"store: {retention: {max_bytes: -1}}\n":              "store.retention.max_bytes: must be a whole number, 0 or more",
		"webhooks: {trusted_proxies: x}\n":                   "webhooks.trusted_proxies: must be a list",
		"shutdown: {timeout: 5}\n":                           "shutdown.timeout: must be a duration",
		"listen: &x {<<: *x}\n":                              "listen: the mapping takes over itself",
		"listen: &x {<<: [*x]}\n":                            "listen: the mapping takes over itself",
		"providers: {finicity: {clients: &x {a: *x}}}\n":     "providers.finicity.clients.a.a: unknown key",
		"[a]\n": "FILE:1: must be a mapping with the keys listen, tls, log",
	} {
		path := writeConfig(t, yaml)
		_, err := Load(path, nil)
		if want = strings.ReplaceAll(want, "FILE", path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%sgives %v, want %q", yaml, err, want)
			continue
		}
		for _, leak := range []string{"hunter2", "!!", "map[", "int64", "time.", "finicity.C", "server.", "yaml"} {
			if strings.Contains(strings.ReplaceAll(err.Error(), path, ""), leak) {
				t.Errorf("%sgives %v, which has %q", yaml, err, leak)
			}
		}
	}
}

// Secrets that cannot be read are named by their keys, among the other problems,
// and nothing else is said of them.
func TestLoadNamesUnreadableSecrets(t *testing.T) {
	t.Setenv("OF_THE_PROCESS", "hunter2") // only the given environment is looked into
	none := filepath.Join(t.TempDir(), "none")
	path := writeConfig(t, `
log: {format: xml}
providers:
  finicity:
    enabled: true
    clients:
      acme:
        secrets: {new: env:OF_THE_PROCESS, old: file:`+none+`}
        required_header: {name: X-Key, secret: env:EMPTY}
  vezgo: {enabled: true, any_client: true}
`)
	_, err := Load(path, []string{"EMPTY=", "WEBHOOK_GATEWAY_PROVIDERS_VEZGO_URL_SECRET=env:NOT_SET"})
	if err == nil {
		t.Fatal("the configuration was accepted")
	}
	want := `providers.finicity.clients.acme.secrets.new: the environment variable OF_THE_PROCESS is empty or not set, and a secret is to be read from it
providers.finicity.clients.acme.secrets.old: read a secret: open ` + none + `: no such file or directory
providers.finicity.clients.acme.required_header.secret: the environment variable EMPTY is empty or not set, and a secret is to be read from it
providers.vezgo.url_secret: the environment variable NOT_SET is empty or not set, and a secret is to be read from it
log.format: "xml" is no format: choose text or json`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("the problems differ (-want +got):\n%s", diff)
	}
}
