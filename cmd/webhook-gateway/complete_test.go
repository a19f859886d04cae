package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// completions returns what a shell is offered, and whether files are.
func completions(t *testing.T, args ...string) (names []string, files bool) {
	t.Helper()
	out := strings.Split(strings.TrimSpace(mustExecuteQuietly(t, append([]string{"__complete"}, args...)...)), "\n")
	for _, line := range out[:len(out)-1] {
		name, _, _ := strings.Cut(line, "\t")
		names = append(names, name)
	}
	return names, out[len(out)-1] != ":4"
}

// mustExecuteQuietly is mustExecute for completions, which speak on stderr.
func mustExecuteQuietly(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errOut := execute(t, args...)
	if code != exitOK {
		t.Fatalf("%v ended with %d:\n%s%s", args, code, out, errOut)
	}
	return out
}

func TestCompletion(t *testing.T) {
	g := servertest.Start(t)
	addr := []string{"--addr", g.GRPCAddr()}
	for _, name := range []string{"billing", "audit"} {
		mustExecute(t, append([]string{"subscriptions", "create", name}, addr...)...)
	}
	for _, test := range []struct {
		args []string
		want []string // "...": and others
	}{
		{[]string{"trigger", ""}, []string{"added", "finicity.added", "SyncError", "vezgo.SyncError", "..."}},
		{[]string{"tail", "--type", ""}, []string{"added", "finicity.added", "unrecognized", "..."}},
		{[]string{"tail", ""}, nil},
		{[]string{"tail", "--addr", ""}, nil},
		{[]string{"tail", "-o", ""}, []string{"text", "json"}},
		{[]string{"tail", "--from", ""}, []string{"earliest", "latest", "today", "yesterday"}},
		{[]string{"tail", "--addr", g.GRPCAddr(), "--subscription", ""}, []string{"audit", "billing"}},
		{[]string{"subscriptions", "get", "--addr", g.GRPCAddr(), ""}, []string{"audit", "billing"}},
		{[]string{"subscriptions", "get", "--addr", g.GRPCAddr(), "b"}, []string{"billing"}},
		{[]string{"subscriptions", "get", "--addr", g.GRPCAddr(), "billing", ""}, nil},
		{[]string{"subscriptions", "get", "--addr", "127.0.0.1:1", ""}, nil},
		{[]string{"subscriptions", "seek", "--addr", g.GRPCAddr(), "billing", ""}, []string{"earliest", "latest", "today", "yesterday"}},
		{[]string{"parked", "list", "--addr", g.GRPCAddr(), "a"}, []string{"audit"}},
		{[]string{"subscriptions", "create", ""}, nil},
		{[]string{"events", "get", ""}, nil},
		{[]string{"events", ""}, []string{"get", "list", "resend"}},
		{[]string{"help", "events", ""}, []string{"get", "list", "resend"}},
	} {
		got, files := completions(t, test.args...)
		for began := time.Now(); len(got) == 0 && len(test.want) > 0 && time.Since(began) < time.Minute; {
			got, files = completions(t, test.args...) // a gateway has a second to answer, which a busy machine may need more than once
		}
		slices.Sort(got)
		want := slices.Clone(test.want)
		if files {
			t.Errorf("%v offers files", test.args)
		}
		if n := len(want); n > 0 && want[n-1] == "..." {
			for _, name := range want[:n-1] {
				if !slices.Contains(got, name) {
					t.Errorf("%v lacks %s: %v", test.args, name, got)
				}
			}
			continue
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%v offers %v, want %v", test.args, got, want)
		}
	}
	if _, files := completions(t, "trigger", "--data", ""); !files {
		t.Error("--data offers no files")
	}
	if _, files := completions(t, "serve", "--config", ""); !files {
		t.Error("--config offers no files")
	}
	// What is offered is accepted.
	names, _ := completions(t, "trigger", "")
	for _, name := range names {
		if _, err := findType(name); err != nil {
			t.Error(err)
		}
	}
	names, _ = completions(t, "tail", "--type", "")
	if _, err := parseAll(names, all.ParseType); err != nil {
		t.Error(err)
	}
}
