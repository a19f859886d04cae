// Package access decides who calls the internal ports, and what each caller may do.
//
// Who calls is found out by credentials: a bearer token, a JWT of an OIDC issuer, or a
// client certificate. What a caller may is the sum of its grants.
package access

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Caller is who makes a call. It never changes: when its credentials or grants change,
// the calls under way end.
type Caller struct {
	// Name is how logs call it, such as the name of its token.
	Name string
	// Method is how it was recognised.
	Method Method
	// Expires is when its credentials do. Zero: never.
	Expires time.Time
	// Grants are what it may. None: nothing.
	Grants []*Grant
}

// Method is how a caller was recognised.
type Method string

// The methods.
const (
	// MethodNone is that of anybody, where access is not configured.
	MethodNone        Method = "none"
	MethodToken       Method = "token"
	MethodOIDC        Method = "oidc"
	MethodCertificate Method = "certificate"
	// MethodOwn is that of a part of the gateway itself.
	MethodOwn Method = "own"
)

// Anybody is every caller of a gateway without access control: it may everything.
func Anybody() *Caller { return anybody }

var anybody = &Caller{Name: "anybody", Method: MethodNone, Grants: []*Grant{everything()}}

// Operate returns an error unless the caller operates the gateway. It is a status.
func (c *Caller) Operate() error {
	if slices.ContainsFunc(c.Grants, func(g *Grant) bool { return g.Operator }) {
		return nil
	}
	return errNotOperator()
}

type contextKey struct{}

// NewContext returns a context of the calls of a caller.
func NewContext(ctx context.Context, caller *Caller) context.Context {
	return context.WithValue(ctx, contextKey{}, caller)
}

// From returns who makes the call of a context: somebody without grants if nobody was
// put there.
func From(ctx context.Context) *Caller {
	if caller, ok := ctx.Value(contextKey{}).(*Caller); ok {
		return caller
	}
	return &Caller{Name: "nobody"}
}

// Origin is where a stream comes from. A client may call itself anything.
type Origin struct {
	// Remote is the address of the client, empty of a call that the gateway makes itself.
	Remote string
	// UserAgent is what the client calls itself: valid UTF-8, and not long.
	UserAgent string
}

type originKey struct{}

// OriginOf returns where the stream of a context comes from.
func OriginOf(ctx context.Context) Origin {
	origin, _ := ctx.Value(originKey{}).(Origin)
	return origin
}

// maxUserAgent is more than the names of browsers have, in bytes.
const maxUserAgent = 256

func (c *call) origin() Origin {
	o := Origin{Remote: c.remote, UserAgent: strings.ToValidUTF8(c.userAgent[:min(len(c.userAgent), maxUserAgent)], "")}
	if o.Remote == inProcess {
		o.Remote = ""
	}
	return o
}
