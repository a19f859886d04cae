package main

import (
	"strings"
	"testing"
)

func TestCall(t *testing.T) {
	g := startWithAll(t)
	for name, test := range map[string]struct {
		args  []string
		stdin string
		code  int
		out   string
		err   string
		lines int
	}{
		"unary":        {[]string{"EventService/GetLogInfo"}, "", exitOK, `"eventCount":"18"`, "", 1},
		"full name":    {[]string{"webhookgateway.v1.EventService/GetLogInfo"}, "", exitOK, `"eventCount":"18"`, "", 1},
		"stream":       {[]string{"EventService/Subscribe", "-d", `{"start_ago": "3600s", "stop_at_head": true, "max_batch_size": 18}`}, "", exitOK, `"caughtUp"`, "", 3},
		"timeout":      {[]string{"EventService/Subscribe", "-d", "{}", "--timeout", "5s"}, "", exitOK, `"subscribed"`, "", 2},
		"in no time":   {[]string{"EventService/GetLogInfo", "--timeout", "1us"}, "", exitFailure, "", "(DeadlineExceeded)", 0},
		"stdin":        {[]string{"EventService/ListEvents", "--data", "-"}, `{"pageSize": 1}`, exitOK, `"nextPageToken"`, "", 1},
		"no method":    {[]string{"EventService/Nothing"}, "", exitUsage, "", `"EventService/Nothing" is no method: choose from EventService/Subscribe, `, 0},
		"no JSON":      {[]string{"EventService/GetEvent", "-d", "{"}, "", exitUsage, "", "--data is no GetEventRequest: ", 0},
		"no field":     {[]string{"EventService/GetEvent", "-d", `{"ident": "x"}`}, "", exitUsage, "", `unknown field "ident"`, 0},
		"refused":      {[]string{"EventService/GetEvent", "-d", `{"id": "x"}`}, "", exitUsage, "", "(INVALID_FIELD)", 0},
		"not found":    {[]string{"SubscriptionService/GetSubscription", "-d", `{"name": "none"}`}, "", exitFailure, "", "(SUBSCRIPTION_NOT_FOUND)", 0},
		"no such host": {[]string{"EventService/GetLogInfo", "--addr", "127.0.0.1:1"}, "", exitFailure, "", "is the gateway running?", 0},
	} {
		code, out, errOut := trigger(t, test.stdin, append([]string{"call", "--addr", g.GRPCAddr()}, test.args...)...)
		if code != test.code || !strings.Contains(out, test.out) || !strings.Contains(errOut, test.err) || test.err == "" && errOut != "" ||
			strings.Count(out, "\n") != test.lines || strings.Contains(errOut, "proto:") {
			t.Errorf("%s ended with %d:\n%s%s", name, code, out, errOut)
		}
	}
	// Whatever can be called is served.
	for _, name := range methodNames() {
		if _, _, errOut := execute(t, "call", name, "--timeout", "1s", "--addr", g.GRPCAddr()); strings.Contains(errOut, "Unimplemented") {
			t.Errorf("%s: %s", name, errOut)
		}
	}
}
