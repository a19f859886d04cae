// Package deploy tests what deploy/ has for Kubernetes and for compose, without a
// cluster and without a container engine.
package deploy

import (
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

const chartFolder = "../../deploy/helm/webhook-gateway"

// fine is what an operator gives at least.
const fine = `
config:
  access: {insecure: true}
  providers:
    finicity:
      enabled: true
      clients:
        acme: {secrets: {main: "file:/run/secrets/webhook-gateway/finicity-acme"}}
    vezgo: {enabled: true, clients: [my-vezgo-client-id]}
secretName: webhook-gateway
`

// everything sets what fine leaves out.
const everything = fine + `
image: {repository: example.test/webhook-gateway, digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", pullSecrets: [{name: pull}]}
env: [{name: FINICITY_SECRET, valueFrom: {secretKeyRef: {name: finicity, key: acme}}}]
persistence: {size: 500Gi, storageClassName: fast, accessMode: ReadWriteOncePod, annotations: {a: b}}
service:
  webhooks: {type: LoadBalancer, port: 443, externalTrafficPolicy: Local, annotations: {a: b}}
  internal: {annotations: {a: b}}
ingress: {enabled: true, className: nginx, host: hooks.example.test, tlsSecretName: hooks-tls, annotations: {a: b}}
networkPolicy:
  webhooksFrom: [{ipBlock: {cidr: 10.0.0.0/8}}]
  internalFrom: [{podSelector: {matchLabels: {reads: events}}}]
  metricsFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
  egress: [{ports: [{port: 53, protocol: UDP}]}]
podDisruptionBudget: {maxUnavailable: 0}
serviceMonitor: {enabled: true, interval: 15s, labels: {release: prometheus}, authorization: {credentials: {name: scrape, key: token}}}
prometheusRule: {enabled: true, labels: {release: prometheus}}
dashboard: {enabled: true, annotations: {grafana_folder: Webhooks}}
podAnnotations: {a: b}
podLabels: {team: payments}
nodeSelector: {disk: ssd}
tolerations: [{key: dedicated, operator: Exists}]
affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}
priorityClassName: high
`

// render is helm template.
func render(values string) (map[string]string, error) {
	chart, err := loader.Load(chartFolder)
	if err != nil {
		return nil, err
	}
	var given map[string]any
	if err := yaml.UnmarshalStrict([]byte(values), &given); err != nil {
		return nil, err
	}
	all, err := util.ToRenderValues(chart, given, common.ReleaseOptions{Name: "hooks", Namespace: namespace, Revision: 1, IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	return engine.Engine{Strict: true}.Render(chart, all)
}

// An installed is what a cluster would have.
type installed struct {
	config      *corev1.ConfigMap
	set         *appsv1.StatefulSet
	services    []*corev1.Service
	policy      *networkingv1.NetworkPolicy
	ingress     *networkingv1.Ingress
	disruptions *policyv1.PodDisruptionBudget
	monitor     *monitoringv1.ServiceMonitor
	rule        *monitoringv1.PrometheusRule
	dashboard   *corev1.ConfigMap
	notes       string
}

var separator = regexp.MustCompile(`(?m)^---$`)

// install renders the chart and has each manifest admitted.
func install(t *testing.T, values string) installed {
	t.Helper()
	files, err := render(values)
	if err != nil {
		t.Fatal(err)
	}
	var i installed
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if path.Base(name) == "NOTES.txt" {
			i.notes = files[name]
			continue
		}
		for _, manifest := range separator.Split(files[name], -1) {
			if strings.TrimSpace(manifest) == "" {
				continue
			}
			object, err := admit([]byte(manifest))
			if err != nil {
				t.Fatalf("%s is refused: %v\n%s", name, err, manifest)
			}
			i.add(t, object)
		}
	}
	return i
}

func (i *installed) add(t *testing.T, object runtime.Object) {
	t.Helper()
	switch o := object.(type) {
	case *corev1.ConfigMap:
		if strings.HasSuffix(o.Name, "-dashboard") {
			i.dashboard = o
			return
		}
		i.config = o
	case *appsv1.StatefulSet:
		i.set = o
	case *corev1.Service:
		i.services = append(i.services, o)
	case *networkingv1.NetworkPolicy:
		i.policy = o
	case *networkingv1.Ingress:
		i.ingress = o
	case *policyv1.PodDisruptionBudget:
		i.disruptions = o
	case *monitoringv1.ServiceMonitor:
		i.monitor = o
	case *monitoringv1.PrometheusRule:
		i.rule = o
	default:
		t.Fatalf("%T: what is it for?", object)
	}
}

func TestChart(t *testing.T) {
	for name, values := range map[string]string{"fine": fine, "everything": everything} {
		t.Run(name, func(t *testing.T) {
			i := install(t, values)
			checkMeetings(t, i)
			checkGatewayTakes(t, i)
			pod := i.set.Spec.Template.Spec
			container := pod.Containers[0]
			if c := container.SecurityContext; !*pod.SecurityContext.RunAsNonRoot || !*c.ReadOnlyRootFilesystem || *c.AllowPrivilegeEscalation || len(c.Capabilities.Drop) != 1 {
				t.Errorf("the container may too much: %v %v", pod.SecurityContext, c)
			}
			if *pod.AutomountServiceAccountToken {
				t.Error("the gateway gets a token of the cluster, which it does not use")
			}
			if !strings.Contains(i.notes, "config.access is insecure") {
				t.Errorf("the notes do not warn:\n%s", i.notes)
			}
		})
	}
}

// checkMeetings checks that what names something names what is there.
func checkMeetings(t *testing.T, i installed) {
	t.Helper()
	pod := i.set.Spec.Template
	selects := func(what string, selector labels.Selector, of map[string]string) {
		t.Helper()
		if selector.Empty() || !selector.Matches(labels.Set(of)) {
			t.Errorf("%s selects %s, not %v", what, selector, of)
		}
	}
	selector := func(s *metav1.LabelSelector) labels.Selector {
		t.Helper()
		parsed, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	containerPorts := make(map[string]bool)
	for _, port := range pod.Spec.Containers[0].Ports {
		containerPorts[port.Name] = true
	}
	servicePorts := make(map[string]bool) // by service/port
	for _, service := range i.services {
		selects(service.Name, labels.SelectorFromSet(service.Spec.Selector), pod.Labels)
		for _, port := range service.Spec.Ports {
			servicePorts[service.Name+"/"+port.Name] = true
			if !containerPorts[port.TargetPort.StrVal] {
				t.Errorf("%s leads to %v, which the container does not have", service.Name, port.TargetPort)
			}
		}
		if service.Spec.Type != corev1.ServiceTypeClusterIP && (len(service.Spec.Ports) != 1 || service.Spec.Ports[0].TargetPort.StrVal != "webhooks") {
			t.Errorf("%s exposes more than the deliveries", service.Name)
		}
	}
	selects("the disruption budget", selector(i.disruptions.Spec.Selector), pod.Labels)
	selects("the network policy", selector(&i.policy.Spec.PodSelector), pod.Labels)
	for _, rule := range i.policy.Spec.Ingress {
		for _, port := range rule.Ports {
			if !containerPorts[port.Port.StrVal] {
				t.Errorf("the network policy names the port %v", port.Port)
			}
			if port.Port.StrVal != "webhooks" && len(rule.From) == 0 {
				t.Errorf("everybody may use the port %v", port.Port)
			}
		}
	}
	if i.ingress != nil {
		backend := i.ingress.Spec.Rules[0].HTTP.Paths[0].Backend.Service
		if name := backend.Name + "/" + backend.Port.Name; !servicePorts[name] || len(i.ingress.Spec.Rules[0].HTTP.Paths) != 1 {
			t.Errorf("the ingress leads to %s", name)
		}
	}
	if i.monitor != nil {
		var found []string
		for _, service := range i.services {
			if selector(&i.monitor.Spec.Selector).Matches(labels.Set(service.Labels)) && servicePorts[service.Name+"/"+i.monitor.Spec.Endpoints[0].Port] {
				found = append(found, service.Name)
			}
		}
		if len(found) != 1 {
			t.Errorf("the service monitor finds the services %v", found)
		}
	}
}

// checkGatewayTakes has the real gateway check the configuration, in the environment of
// the container.
func checkGatewayTakes(t *testing.T, i installed) {
	t.Helper()
	// Secrets are where the pod would have them, only below a folder of the test.
	folder := t.TempDir()
	secret := filepath.Join(folder, "secret")
	if err := os.WriteFile(secret, []byte("a secret of a test"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(i.config.Data["gateway.yaml"], "/run/secrets/webhook-gateway/finicity-acme", secret)
	gatewayTakes(t, text, i.set.Spec.Template.Spec.Containers[0].Env)
	for _, name := range []string{"hooks-webhook-gateway." + namespace + ".svc.cluster.local", "file:"} {
		if !strings.Contains(text, name) {
			t.Errorf("the configuration lacks %s:\n%s", name, text)
		}
	}
}

// gatewayTakes runs `config check` of the gateway in $GATEWAY.
func gatewayTakes(t *testing.T, config string, env []corev1.EnvVar) {
	t.Helper()
	gateway := os.Getenv("GATEWAY")
	if gateway == "" {
		t.Fatal("GATEWAY: name the binary of the gateway, as .ci/deploy/check does")
	}
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	check := exec.CommandContext(t.Context(), gateway, "config", "check", "--config", file)
	check.Env = []string{}
	for _, variable := range env {
		check.Env = append(check.Env, variable.Name+"="+variable.Value)
	}
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("the gateway refuses the configuration: %v\n%s\n%s", err, out, config)
	}
}

// TestChartRestartsForAChange: what the gateway loads again by itself ends nothing.
func TestChartRestartsForAChange(t *testing.T) {
	sum := func(values string) string {
		return install(t, values).set.Spec.Template.Annotations["checksum/config"]
	}
	before := sum(fine)
	if client := sum(strings.Replace(fine, "acme:", "other:", 1)); before == "" || client != before {
		t.Errorf("another client starts the gateway anew: %q, %q", before, client)
	}
	if port := sum(strings.Replace(fine, "config:", "config:\n  listen: {grpc: \":9091\"}", 1)); port == before {
		t.Error("another port does not start the gateway anew")
	}
}

// TestChartWithTLS: what asks the gateway speaks what the gateway speaks.
func TestChartWithTLS(t *testing.T) {
	pair := "{certificate: /run/secrets/webhook-gateway/tls.crt, key: /run/secrets/webhook-gateway/tls.key}"
	i := install(t, strings.Replace(everything, "config:", "config:\n  tls: {webhooks: "+pair+", grpc: "+pair+", internal_http: "+pair+"}", 1))
	container := i.set.Spec.Template.Spec.Containers[0]
	for _, probe := range []*corev1.Probe{container.StartupProbe, container.LivenessProbe, container.ReadinessProbe} {
		if probe.HTTPGet.Scheme != corev1.URISchemeHTTPS {
			t.Errorf("a probe speaks %s", probe.HTTPGet.Scheme)
		}
	}
	for _, service := range i.services {
		for _, port := range service.Spec.Ports {
			if *port.AppProtocol != "https" {
				t.Errorf("%s/%s is said to speak %s", service.Name, port.Name, *port.AppProtocol)
			}
		}
	}
	if scheme := i.monitor.Spec.Endpoints[0].Scheme; scheme == nil || *scheme != "https" {
		t.Errorf("metrics are read by %v", scheme)
	}
}

func TestChartRefuses(t *testing.T) {
	for _, c := range []struct{ values, want string }{
		{"replicas: 3", "replicas: several gateways share their events by config.store.commit_log"},
		{"replicas: 0", "replicas"},
		{"config: {store: {commit_log: {engine: jetstream}}}", "networkPolicy.egress: name the servers"},
		{strings.Replace(several, "cluster: {", "cluster: {listen: nowhere, ", 1), "config.cluster.listen"},
		{"image: {tag: 1}", "tag"},
		{"image: {digest: sha256:12}", "digest"},
		{"persistence: {size: much}", "size"},
		{"persistence: {accessMode: ReadWriteMany}", "accessMode"},
		{"podDisruptionBudget: {maxUnavailable: 2}", "maxUnavailable"},
		{"prometheusRule: {enabled: 1}", "prometheusRule"},
		{"dashboard: {labels: {grafana_dashboard: 1}}", "grafana_dashboard"},
		{"networkPolicy: {internalFrom: everybody}", "internalFrom"},
		{"config: {store: {pebble: {path: /elsewhere}}}", "config.store.pebble.path: leave it out"},
		{"config: {listen: {grpc: nowhere}}", "config.listen.grpc"},
		{"config: {listen: {grpc: null}}", "config.listen.grpc"},
		{"config: {tls: {internal_http: {require_client_certificate: true}}}", "config.tls.internal_http.require_client_certificate: leave it out"},
		{"ingress: {enabled: true}", "ingress.host"},
		{"ingress: {enabled: true, host: hooks.example.test}", "ingress.tlsSecretName"},
	} {
		if _, err := render(c.values); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.values, err)
		}
	}
}

func TestChartWithoutTheOptional(t *testing.T) {
	i := install(t, fine+"networkPolicy: {enabled: false}\npodDisruptionBudget: {enabled: false}\n")
	if i.policy != nil || i.disruptions != nil || i.monitor != nil || i.ingress != nil || i.rule != nil || i.dashboard != nil {
		t.Errorf("there is %v %v %v %v %v %v", i.policy, i.disruptions, i.monitor, i.ingress, i.rule, i.dashboard)
	}
	closed := install(t, fine+"networkPolicy: {internalFrom: []}\n")
	if n := len(closed.policy.Spec.Ingress); n != 1 {
		t.Errorf("%d rules let somebody in, with nobody named for the internal ports", n)
	}
}

// TestChartMonitoring: what Prometheus and Grafana are given is what is in the chart's
// folder, where who has no Helm takes it from, and is found by them.
func TestChartMonitoring(t *testing.T) {
	i := install(t, everything)
	alerts, err := os.ReadFile(filepath.Join(chartFolder, "monitoring/alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var want monitoringv1.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict(alerts, &want); err != nil {
		t.Fatal(err)
	}
	if len(want.Groups) == 0 || !reflect.DeepEqual(i.rule.Spec, want) {
		t.Errorf("the rules are %v", i.rule.Spec)
	}
	dashboard, err := os.ReadFile(filepath.Join(chartFolder, "monitoring/dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	if i.dashboard.Data["webhook-gateway.json"] != string(dashboard) {
		t.Error("the dashboard is another one")
	}
	if i.rule.Labels["release"] != "prometheus" || i.dashboard.Labels["grafana_dashboard"] != "1" || i.dashboard.Annotations["grafana_folder"] != "Webhooks" {
		t.Errorf("they would not be found: %v %v %v", i.rule.Labels, i.dashboard.Labels, i.dashboard.Annotations)
	}
}

func TestChartLint(t *testing.T) {
	var values map[string]any
	if err := yaml.Unmarshal([]byte(everything), &values); err != nil {
		t.Fatal(err)
	}
	for _, message := range lint.RunAll(chartFolder, values, namespace).Messages {
		if message.Severity > support.InfoSev {
			t.Error(message)
		}
	}
}

// TestAdmitRefuses: the check is one.
func TestAdmitRefuses(t *testing.T) {
	files, err := render(fine)
	if err != nil {
		t.Fatal(err)
	}
	set := files["webhook-gateway/templates/statefulset.yaml"]
	for _, c := range []struct{ old, new, want string }{
		{"readOnlyRootFilesystem", "readOnlyRootFileSystem", "unknown field"},
		{"replicas: 1", "replicas: one", "replicas"},
		{"name: internal-http, containerPort", "name: internal-http-port, containerPort", "no more than 15"},
		{"{name: data, mountPath: /data}", "{name: store, mountPath: /data}", "volumeMounts"},
		{"defaultMode: 0440", "defaultMode: 04400", "0777"},
		{"cpu: 500m", "cpu: half", "quantit"},
	} {
		changed := strings.Replace(set, c.old, c.new, 1)
		if changed == set {
			t.Errorf("%s is not in\n%s", c.old, set)
		}
		if _, err := admit([]byte(changed)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.new, err)
		}
	}
}
