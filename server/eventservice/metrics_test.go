package eventservice_test

import "testing"

// counter returns the value of a counter without labels.
func counter(tb testing.TB, g *gateway, name string) float64 {
	tb.Helper()
	families, err := g.metrics.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetCounter().GetValue()
		}
	}
	tb.Fatalf("there is no metric %s", name)
	return 0
}
