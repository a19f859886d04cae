// Package webhookgateway holds what is generated and served as it is. It stands
// at the root because go:embed reaches down only, and gen/ holds nothing that is
// written by hand.
package webhookgateway

import _ "embed" // for the directive

//go:embed gen/openapi/webhookgateway.swagger.json
var openAPI []byte

// OpenAPI returns the OpenAPI document (version 2) of the REST API.
func OpenAPI() []byte { return openAPI }
