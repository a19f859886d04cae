package main

import (
	"encoding/json"
	"fmt"
	"os"

	"go.yaml.in/yaml/v4"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// addRules gives each method the HTTP rule that a gRPC API configuration file has
// for it, as if it stood in the proto file.
func addRules(request *pluginpb.CodeGeneratorRequest, file string) error {
	rules, err := readRules(file)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	for _, f := range request.GetProtoFile() {
		for _, service := range f.GetService() {
			for _, method := range service.GetMethod() {
				selector := f.GetPackage() + "." + service.GetName() + "." + method.GetName()
				rule, ok := rules[selector]
				if !ok {
					return fmt.Errorf("%s has no rule for %s", file, selector)
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
		return fmt.Errorf("%s has a rule for %s, which is no method", file, selector)
	}
	return nil
}

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
