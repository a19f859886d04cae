package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// What is said of something that is not there any more is an error.
func TestNothingGoesStale(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "http.yaml")
	if err := os.WriteFile(file, []byte("http: {rules: [{selector: p.S.Call, get: /call}]}"), 0o600); err != nil {
		t.Fatal(err)
	}
	methods := func(names ...string) *pluginpb.CodeGeneratorRequest {
		service := &descriptorpb.ServiceDescriptorProto{Name: proto.String("S")}
		for _, name := range names {
			service.Method = append(service.Method, &descriptorpb.MethodDescriptorProto{Name: proto.String(name)})
		}
		return &pluginpb.CodeGeneratorRequest{ProtoFile: []*descriptorpb.FileDescriptorProto{
			{Package: proto.String("p"), Service: []*descriptorpb.ServiceDescriptorProto{service}},
		}}
	}
	withPaths := func(paths document) document {
		return document{"paths": paths, "components": document{"schemas": document{}}}
	}
	call := func(id string) document { return document{"get": document{"operationId": id, "responses": document{}}} }
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"a rule without a method":       {addRules(methods(), file), "has a rule for p.S.Call, which is no method"},
		"a method without a rule":       {addRules(methods("Call", "Other"), file), "has no rule for p.S.Other"},
		"a path that is not there":      {movePath(withPaths(document{}), "/a", "/b"), "there is no object at [/a]"},
		"a file without a document":     {second(merge(map[string]document{"a": {}}, "b")), "there is no document for b"},
		"an unknown webhook operation":  {editWebhooks(withPaths(document{"/a": call("new")}), nil), "nothing is said of operation new"},
		"an unknown internal operation": {editInternal(withPaths(document{"/v1/subscriptions/{subscription.name}": document{}, "/v1/subscriptions/{name}": call("new")}), nil), "nothing is said of operation new"},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, test.err, test.want)
		}
	}
	if err := addRules(methods("Call"), file); err != nil {
		t.Errorf("a method with its rule: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }
