package deploy

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	corev1 "k8s.io/api/core/v1"
)

const composeFolder = "../../deploy/compose"

// TestCompose has Compose's own loader read the file, which checks it against its
// schema, and the gateway the configuration beside it.
func TestCompose(t *testing.T) {
	options, err := cli.NewProjectOptions([]string{filepath.Join(composeFolder, "compose.yaml")}, cli.WithName("hooks"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	gateway, err := project.GetService("webhook-gateway")
	if err != nil {
		t.Fatal(err)
	}
	if !gateway.ReadOnly || gateway.Privileged || len(gateway.CapDrop) != 1 {
		t.Error("the container may too much")
	}
	for _, port := range gateway.Ports {
		if port.HostIP != "127.0.0.1" && port.Target != 8080 {
			t.Errorf("port %d is open to other machines", port.Target)
		}
	}
	for _, used := range []string{
		filepath.Join(gateway.Build.Context, gateway.Build.Dockerfile),
		gateway.Volumes[1].Source,
	} {
		if _, err := os.Stat(used); err != nil {
			t.Error(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(composeFolder, "gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a secret of a test"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := strings.ReplaceAll(string(text), "/run/secrets/"+gateway.Secrets[0].Source, secret)
	gatewayTakes(t, config, []corev1.EnvVar{{Name: "WEBHOOK_GATEWAY_STORE_PEBBLE_PATH", Value: "/data/store"}})
}
