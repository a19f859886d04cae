package all

import (
	"strings"
	"testing"
)

func TestSetField(t *testing.T) {
	const body = `{"customerId":"7","n":12345678901234567890,"payload":{"z":"<a>","oauth":true,"accounts":[{"id":"1"},{"id":"2"}],"none":null},"a.b":1}`
	for assignment, want := range map[string][2]string{
		"customerId=8":                 {`"customerId":"7"`, `"customerId":"8"`},
		"payload.z=x=y":                {`"z":"<a>"`, `"z":"x=y"`},
		"payload.oauth=false":          {`"oauth":true`, `"oauth":false`},
		"payload.accounts.1.id=true":   {`{"id":"2"}`, `{"id":"true"}`},
		`payload.accounts:=[]`:         {`[{"id":"1"},{"id":"2"}]`, `[]`},
		`customerId:={"a":1}`:          {`"customerId":"7"`, `"customerId":{"a":1}`},
		"payload.none=[1]":             {`"none":null`, `"none":[1]`},
		"payload.institutionId=100001": {`"none":null}`, `"none":null,"institutionId":"100001"}`},
		"webhookData.trace.id:=5":      {`"a.b":1}`, `"a.b":1,"webhookData":{"trace":{"id":5}}}`},
		"customerId=":                  {`"customerId":"7"`, `"customerId":""`},
	} {
		got, err := SetField([]byte(body), assignment)
		if wanted := strings.Replace(body, want[0], want[1], 1); err != nil || string(got) != wanted {
			t.Errorf("%s made\n%s (%v), want\n%s", assignment, got, err, wanted)
		}
	}
	for assignment, want := range map[string]string{
		"payload":                 "give a field and its value",
		"=1":                      "give a field and its value",
		"payload.oauth=perhaps":   "is no JSON",
		"customerId:=8x":          "is no JSON",
		"payload.accounts.2.id=1": "there is no element 2 in a list of 2",
		"customerId.x=1":          `there is no "x" in what is no object`,
	} {
		if got, err := SetField([]byte(body), assignment); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s made %s (%v), want %q", assignment, got, err, want)
		}
	}
	for _, body := range []string{"", "text", `{"a":`, `["a"`, `{"a" 1}`, `{"a":1,}`, `{"a":1} x`, `1`} {
		if got, err := SetField([]byte(body), "b=1"); err == nil {
			t.Errorf("%q became %s", body, got)
		}
	}
}
