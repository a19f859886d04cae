package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"

	"go.yaml.in/yaml/v4"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// addRules gives each method its HTTP rule, as if it stood in the proto file.
func addRules(request *pluginpb.CodeGeneratorRequest, rules map[string]*annotations.HttpRule) error {
	rules = maps.Clone(rules)
	for _, f := range request.GetProtoFile() {
		for _, service := range f.GetService() {
			for _, method := range service.GetMethod() {
				selector := f.GetPackage() + "." + service.GetName() + "." + method.GetName()
				rule, ok := rules[selector]
				if !ok {
					return fmt.Errorf("has no rule for %s", selector)
				}
				delete(rules, selector)
				if method.Options == nil {
					method.Options = &descriptorpb.MethodOptions{}
				}
				proto.SetExtension(method.Options, annotations.E_Http, rule)
			}
		}
	}
	for selector := range rules {
		return fmt.Errorf("has a rule for %s, which is no method", selector)
	}
	return nil
}

// nameCalls says of each operation which call it makes, by the extension x-grpc: the
// method, its path as the mapping has it, and the field that the body is (* for the
// whole request).
func nameCalls(d document, rules map[string]*annotations.HttpRule) error {
	all, err := operations(d)
	if err != nil {
		return err
	}
	named := make(map[string]document)
	for selector, rule := range rules {
		parts := strings.Split(selector, ".")
		id := strings.Join(parts[len(parts)-2:], "_")
		for i, binding := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
			if i > 0 {
				id = fmt.Sprintf("%s_%d", strings.Join(parts[len(parts)-2:], "_"), i)
			}
			named[id] = document{"method": selector, "body": binding.GetBody()}
		}
	}
	for _, op := range all {
		id, _ := op.document["operationId"].(string)
		call, ok := named[id]
		if !ok {
			return fmt.Errorf("operation %s has no rule", id)
		}
		call["path"] = op.path
		op.document["x-grpc"] = call
	}
	return nil
}

// readRules returns the rules of a gRPC API configuration file by their method.
func readRules(file string) (map[string]*annotations.HttpRule, error) {
	text, err := os.ReadFile(file) //nolint:gosec // named by whoever generates
	if err != nil {
		return nil, err
	}
	var config struct {
		HTTP map[string]any `yaml:"http"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		return nil, err
	}
	data, err := json.Marshal(config.HTTP)
	if err != nil {
		return nil, err
	}
	http := &annotations.Http{}
	if err := protojson.Unmarshal(data, http); err != nil {
		return nil, err
	}
	rules := make(map[string]*annotations.HttpRule)
	for _, rule := range http.GetRules() {
		rules[rule.GetSelector()] = rule
	}
	return rules, nil
}
