package all_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/reflect/protoreflect"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/provider/vezgo"
)

// everything enables all providers in a way that needs no secrets.
func everything() all.Config {
	config := all.DefaultConfig()
	config.Finicity.Enabled = true
	config.Finicity.Verification = provider.ModeOff
	config.Finicity.Clients = map[string]finicity.ClientConfig{"acme": {}}
	config.Vezgo.Enabled, config.Vezgo.AnyClient = true, true
	return config
}

// TestEveryArm walks the arms of the event's payload, so that none is added
// without all that a provider consists of.
func TestEveryArm(t *testing.T) {
	providers, err := all.New(everything())
	if err != nil {
		t.Fatal(err)
	}
	event := (&webhookgatewayv1.Event{}).ProtoReflect().Descriptor()
	arms := event.Oneofs().ByName("payload").Fields()
	for i := range arms.Len() {
		arm := arms.Get(i)
		name := string(arm.Name())
		t.Run(name, func(t *testing.T) { checkArm(t, name, arm, providers) })
	}
	if arms.Len() != len(providers) || arms.Len() != len(all.Senders()) {
		t.Errorf("%d arms, %d providers, %d senders", arms.Len(), len(providers), len(all.Senders()))
	}
	if enum := webhookgatewayv1.Provider(0).Descriptor().Values().Len() - 1; arms.Len() != enum {
		t.Errorf("%d arms, %d values of the enum Provider", arms.Len(), enum)
	}
}

// A provider's section of the configuration has the provider's name, which
// problems begin with.
func TestSectionsHaveTheNamesOfProviders(t *testing.T) {
	sections := reflect.TypeFor[all.Config]()
	if sections.NumField() != len(all.Senders()) {
		t.Fatalf("%d sections, %d senders", sections.NumField(), len(all.Senders()))
	}
	for i, sender := range all.Senders() {
		if key := sections.Field(i).Tag.Get("yaml"); key != sender.Name() {
			t.Errorf("the section of %s is %s", sender.Name(), key)
		}
	}
}

func checkArm(t *testing.T, name string, arm protoreflect.FieldDescriptor, providers []provider.Provider) {
	t.Helper()
	i := slices.IndexFunc(providers, func(p provider.Provider) bool { return p.Name() == name })
	if i < 0 {
		t.Fatal("no provider in the list has the name of the arm")
	}
	j := slices.IndexFunc(all.Senders(), func(s provider.Sender) bool { return s.Name() == name })
	if j < 0 {
		t.Fatal("no sender in the list has the name of the arm")
	}
	id := webhookgatewayv1.Provider(webhookgatewayv1.Provider_value["PROVIDER_"+strings.ToUpper(name)])
	if providers[i].ID() != id || all.Senders()[j].ID() != id {
		t.Errorf("the provider is %v, its sender %v, want %v", providers[i].ID(), all.Senders()[j].ID(), id)
	}
	for _, sample := range all.Senders()[j].Samples() {
		decoded, err := providers[i].Decode(sample.Body)
		if err != nil {
			t.Fatal(err)
		}
		if !decoded.Event.ProtoReflect().Has(arm) {
			t.Errorf("%s is not decoded into the arm", sample.TypeName)
		}
	}
	bodies, err := filepath.Glob(filepath.Join("..", name, "testdata", "*", "body.json"))
	if err != nil || len(bodies) == 0 {
		t.Errorf("server/provider/%s/testdata has no cases (%v)", name, err)
	}
	if _, err := os.Stat(filepath.Join("..", name, name+"_test.go")); err != nil {
		t.Errorf("the provider has no test that runs the conformance suite: %v", err)
	}
}

func TestNew(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*all.Config)
		want   []string
		err    string
	}{
		{"all", func(*all.Config) {}, []string{"finicity", "vezgo"}, ""},
		{"one", func(c *all.Config) { c.Finicity.Enabled = false }, []string{"vezgo"}, ""},
		{"none", func(c *all.Config) { *c = all.DefaultConfig() }, nil, "no provider is enabled"},
		{"finicity is wrong", func(c *all.Config) { c.Finicity.Clients = nil }, nil, "finicity.clients: name"},
		{"vezgo is wrong", func(c *all.Config) { c.Vezgo.Clients = []string{""} }, nil, "vezgo.clients[0]: the"},
		{"both are wrong", func(c *all.Config) { c.Finicity.Clients, c.Vezgo.Clients = nil, []string{""} }, nil, "finicity.clients: name at least one client, the {client_id} of its webhook URL /v1/webhooks/finicity/{client_id}\nvezgo.clients[0]: the"},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := everything()
			test.change(&config)
			providers, err := all.New(config)
			if (err == nil) != (test.err == "") || err != nil && !strings.HasPrefix(err.Error(), test.err) {
				t.Fatalf("the error is %v, want %q", err, test.err)
			}
			var names []string
			for _, p := range providers {
				names = append(names, p.Name())
			}
			if !slices.Equal(names, test.want) {
				t.Errorf("the providers are %q, want %q", names, test.want)
			}
		})
	}
}

func TestConfigYAML(t *testing.T) {
	config := all.DefaultConfig()
	err := yaml.Unmarshal([]byte(`
finicity:
  enabled: true
  clients:
    acme:
      secrets: {current: env:PARTNER_SECRET}
      required_header: {name: X-Key, secret: env:PARTNER_SECRET}
    reports:
      secrets: {current: env:PARTNER_SECRET}
      verification: report
vezgo:
  enabled: true
  verification: off
  clients: [app-1]
  url_secret: env:PARTNER_SECRET
`), &config)
	if err != nil {
		t.Fatal(err)
	}
	acme, reports := config.Finicity.Clients["acme"], config.Finicity.Clients["reports"]
	if !acme.Secrets["current"].IsUnread() || !acme.RequiredHeader.Secret.IsUnread() || acme.Verification != nil {
		t.Errorf("the client acme is %v", acme)
	}
	if reports.Verification == nil || *reports.Verification != provider.ModeReport {
		t.Errorf("the verification of the client reports is %v", reports.Verification)
	}
	if config.Vezgo.Verification != provider.ModeOff || !config.Vezgo.URLSecret.IsUnread() {
		t.Errorf("vezgo is %v", config.Vezgo)
	}
	// Nobody has read the secrets, and without one nothing is let in.
	if err := config.Validate(); err == nil || !strings.Contains(err.Error(), "finicity.clients.acme.secrets.current: ") ||
		!strings.Contains(err.Error(), "vezgo.url_secret: ") {
		t.Errorf("the error is %v", err)
	}
	if !reflect.DeepEqual(config.Vezgo.SourceAddresses, vezgo.DefaultConfig().SourceAddresses) {
		t.Errorf("the addresses are %q", config.Vezgo.SourceAddresses)
	}
}
