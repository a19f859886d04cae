package deploy

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/labels"
)

// several is what it takes for gateways that share their events.
const several = `
replicas: 3
networkPolicy: {egress: [{ports: [{port: 4222}]}]}
config:
  store: {commit_log: {engine: jetstream, jetstream: {urls: ["tls://nats:4222"], sync_always: true}}}
  cluster: {secret: "file:/run/secrets/webhook-gateway/finicity-acme"}
`

// TestChartOfSeveral: the gateways reach each other, and nobody else reaches that port.
func TestChartOfSeveral(t *testing.T) {
	i := install(t, several+strings.Replace(fine, "\nconfig:\n", "", 1))
	checkMeetings(t, i)
	checkGatewayTakes(t, i)
	if *i.set.Spec.Replicas != 3 || len(i.set.Spec.Template.Spec.TopologySpreadConstraints) != 1 {
		t.Errorf("there are %d, spread by %v", *i.set.Spec.Replicas, i.set.Spec.Template.Spec.TopologySpreadConstraints)
	}
	pod := labels.Set(i.set.Spec.Template.Labels)
	in, out := 0, 0
	for _, rule := range i.policy.Spec.Ingress {
		if rule.Ports[0].Port.StrVal == "cluster" && len(rule.From) == 1 && labels.SelectorFromSet(rule.From[0].PodSelector.MatchLabels).Matches(pod) {
			in++
		}
	}
	for _, rule := range i.policy.Spec.Egress {
		if rule.Ports[0].Port.StrVal == "cluster" && len(rule.To) == 1 && labels.SelectorFromSet(rule.To[0].PodSelector.MatchLabels).Matches(pod) {
			out++
		}
	}
	if in != 1 || out != 1 {
		t.Errorf("%d rules let the gateways call each other, and %d be called", out, in)
	}
	if alone := install(t, fine); len(alone.set.Spec.Template.Spec.Containers[0].Ports) != 3 {
		t.Error("a gateway alone has a port for others")
	}
}
