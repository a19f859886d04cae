package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/webhook-gateway/webhook-gateway/gen/openapi"
)

// httpCalls returns how each method of the API is called over HTTP, such as
// "GET /v1/events", as the OpenAPI documents have it.
func httpCalls() (map[protoreflect.FullName][]string, error) {
	calls := make(map[protoreflect.FullName][]string)
	for _, text := range [][]byte{openapi.Internal, openapi.Webhooks} {
		var document struct {
			Paths map[string]map[string]struct {
				Call struct {
					Method protoreflect.FullName `json:"method"`
				} `json:"x-grpc"`
			} `json:"paths"`
		}
		if err := json.Unmarshal(text, &document); err != nil {
			return nil, fmt.Errorf("read an OpenAPI document: %w", err)
		}
		for _, path := range slices.Sorted(maps.Keys(document.Paths)) {
			for _, verb := range slices.Sorted(maps.Keys(document.Paths[path])) {
				method := document.Paths[path][verb].Call.Method
				calls[method] = append(calls[method], strings.ToUpper(verb)+" "+path)
			}
		}
	}
	return calls, nil
}
