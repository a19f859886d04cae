package rest

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

// Guard refuses what a web page makes the browser of somebody ask, who can reach a
// listener that the page's author cannot: requests from another origin that may
// change something, and requests under a name that does not belong to the listener,
// as after DNS rebinding; see HostBelongs.
func Guard(names []string, next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !HostBelongs(r.Host, names) {
			writeError(w, http.StatusForbidden, rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_HOST_NOT_ALLOWED,
				"the gateway does not go by this name (Host): ask it by its address, or add the name to listen.internal_hosts"))
			return
		}
		if origins.Check(r) != nil {
			writeError(w, http.StatusForbidden, rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CROSS_ORIGIN,
				"a web page of another origin cannot change anything here"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// HostBelongs reports whether the name of a request (Host) belongs to the listener: it is
// one of names, or no name that somebody else could have registered: an IP address,
// localhost or below it, or a name without a dot.
func HostBelongs(host string, names []string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost") ||
		slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, host) })
}
