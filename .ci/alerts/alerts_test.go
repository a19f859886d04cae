package alerts

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"go.yaml.in/yaml/v4"
)

const (
	tests      = "alerts_test.yaml"
	alertRules = "../../deploy/helm/webhook-gateway/monitoring/alerts.yaml"
	dashboard  = "../../deploy/helm/webhook-gateway/monitoring/dashboard.json"
)

// testFile is what alerts_test.yaml uses of promtool's format.
type testFile struct {
	RuleFiles []string   `yaml:"rule_files"`
	Interval  string     `yaml:"evaluation_interval"`
	Tests     []testCase `yaml:"tests"`
}

type testCase struct {
	Name     string `yaml:"name"`
	Interval string `yaml:"interval"`
	Input    []struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	} `yaml:"input_series"`
	Alerts []struct {
		At   string  `yaml:"eval_time"`
		Name string  `yaml:"alertname"`
		Want []alert `yaml:"exp_alerts"`
	} `yaml:"alert_rule_test"`
}

type alert struct {
	Labels      map[string]string `yaml:"exp_labels"`
	Annotations map[string]string `yaml:"exp_annotations"`
}

// String is the alert with its labels in order.
func (a alert) String() string { return fmt.Sprint(a.Labels, a.Annotations) }

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The rules fire, and do not, as alerts_test.yaml says; and it speaks of every rule.
func TestAlerts(t *testing.T) {
	text, err := os.ReadFile(tests)
	if err != nil {
		t.Fatal(err)
	}
	var file testFile
	if err := yaml.Load(text, &file, yaml.WithKnownFields()); err != nil {
		t.Fatal(err)
	}
	tested := make(map[string]int)
	for _, test := range file.Tests {
		t.Run(test.Name, func(t *testing.T) { run(t, file, test) })
		for _, want := range test.Alerts {
			if len(want.Want) > 0 {
				tested[want.Name] |= 1
			} else {
				tested[want.Name] |= 2
			}
		}
	}
	for name := range load(t, file).names() {
		if tested[name] != 3 {
			t.Errorf("the alert %s lacks a test in which it fires, or one in which it does not", name)
		}
	}
}

type groups []*rules.Group

func load(t *testing.T, file testFile, options ...func(*rules.ManagerOptions)) groups {
	t.Helper()
	var paths []string
	for _, name := range file.RuleFiles {
		paths = append(paths, filepath.FromSlash(name))
	}
	o := &rules.ManagerOptions{Context: t.Context(), Logger: slog.New(slog.DiscardHandler), Parser: parser.NewParser(parser.Options{})}
	for _, option := range options {
		option(o)
	}
	loaded, errs := rules.NewManager(o).LoadGroups(duration(t, file.Interval), labels.EmptyLabels(), "", nil, false, paths...)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return slices.Collect(maps.Values(loaded))
}

// names returns the names of the alerts.
func (g groups) names() map[string]bool {
	names := make(map[string]bool)
	for _, group := range g {
		for _, rule := range group.AlertingRules() {
			names[rule.Name()] = true
		}
	}
	return names
}

// run evaluates the rules from the beginning of the series to the last time that is
// asked for.
func run(t *testing.T, file testFile, test testCase) {
	t.Helper()
	var series strings.Builder
	fmt.Fprintf(&series, "load %s\n", test.Interval)
	for _, input := range test.Input {
		fmt.Fprintf(&series, "  %s %s\n", input.Series, input.Values)
	}
	suite, err := promqltest.NewLazyLoader(series.String(), promqltest.LazyLoaderOpts{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := suite.Close(); err != nil {
			t.Error(err)
		}
	}()
	loaded := load(t, file, func(o *rules.ManagerOptions) {
		o.QueryFunc = rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage())
		o.AppendableV2 = suite.Storage()
		o.NotifyFunc = func(context.Context, string, ...*rules.Alert) {}
	})
	begin, step := time.Unix(0, 0).UTC(), duration(t, file.Interval)
	for _, want := range test.Alerts {
		for at := begin; !at.After(begin.Add(duration(t, want.At))); at = at.Add(step) {
			suite.WithSamplesTill(at, func(err error) {
				if err != nil {
					t.Fatal(err)
				}
				for _, group := range loaded {
					group.Eval(suite.Context(), at)
				}
			})
		}
		compare(t, loaded, want.Name, want.Want)
	}
}

func compare(t *testing.T, loaded groups, name string, want []alert) {
	t.Helper()
	var got, expected []string
	for _, group := range loaded {
		for _, rule := range group.AlertingRules() {
			if err := rule.LastError(); err != nil {
				t.Errorf("%s: %v", rule.Name(), err)
			}
			if rule.Name() != name {
				continue
			}
			for _, active := range rule.ActiveAlerts() {
				if active.State == rules.StateFiring {
					got = append(got, alert{active.Labels.Map(), active.Annotations.Map()}.String())
				}
			}
		}
	}
	for _, a := range want {
		a.Labels = maps.Clone(a.Labels)
		a.Labels[labels.AlertName] = name
		expected = append(expected, a.String())
	}
	slices.Sort(got)
	slices.Sort(expected)
	if !slices.Equal(got, expected) {
		t.Errorf("%s fires with\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(expected, "\n"))
	}
}

// Every query of the dashboard is one that Prometheus understands.
func TestDashboardQueries(t *testing.T) {
	p := parser.NewParser(parser.Options{})
	n := 0
	for title, queries := range dashboardQueries(t) {
		for _, query := range queries {
			n++
			if _, err := p.ParseExpr(strings.ReplaceAll(query, "$__rate_interval", "5m")); err != nil {
				t.Errorf("%s: %s: %v", title, query, err)
			}
		}
	}
	if n < 20 {
		t.Errorf("%d queries were found", n)
	}
}
