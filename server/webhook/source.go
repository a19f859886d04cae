package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

// proxies are the networks whose X-Forwarded-For is believed.
type proxies []netip.Prefix

// parseProxies reads addresses and networks in CIDR notation. Its error names
// every value that is neither.
func parseProxies(values []string) (proxies, error) {
	trusted := make(proxies, 0, len(values))
	var errs []error
	for i, value := range values {
		prefix, err := parseProxy(value)
		if err != nil {
			errs = append(errs, fielderr.New(fmt.Sprintf("trusted_proxies[%d]", i), "%q: %v", value, err))
			continue
		}
		trusted = append(trusted, prefix)
	}
	return trusted, errors.Join(errs...)
}

func parseProxy(value string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(value); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(value)
	if err != nil {
		return netip.Prefix{}, errors.New("give an address such as 10.0.0.7 or a network such as 10.0.0.0/8")
	}
	addr, bits := prefix.Addr(), prefix.Bits()
	if addr.Is4In6() {
		addr, bits = addr.Unmap(), bits-96
	}
	// NOTE: a network of everybody would let everybody choose their own source
	// address, which is what the source check of a provider rests on.
	if bits <= 0 {
		return netip.Prefix{}, errors.New("this trusts everybody: name the networks of your proxies")
	}
	return netip.PrefixFrom(addr, bits).Masked(), nil
}

func (p proxies) trust(addr netip.Addr) bool {
	return slices.ContainsFunc(p, func(prefix netip.Prefix) bool { return prefix.Contains(addr) })
}

// source returns where a request came from: the address of the connection, or,
// if that is a trusted proxy, the right-most address of X-Forwarded-For that is
// not one. If all are trusted it is the left-most. forwardedFor are the values
// of all such headers in order; what is not an address on the way makes the
// source unknown (the zero Addr), because whatever is left of it may be forged
// and a proxy is not the source.
//
// The address is never IPv4-mapped and has no zone.
func (p proxies) source(remoteAddr string, forwardedFor []string) netip.Addr {
	source := parseHop(remoteAddr)
	for _, header := range slices.Backward(forwardedFor) {
		for header != "" {
			if !p.trust(source) {
				return source
			}
			hop := header
			if comma := strings.LastIndexByte(header, ','); comma >= 0 {
				header, hop = header[:comma], header[comma+1:]
			} else {
				header = ""
			}
			if hop = strings.Trim(hop, " \t"); hop == "" {
				continue // an empty list element says nothing (RFC 9110, 5.6.1)
			}
			if source = parseHop(hop); !source.IsValid() {
				return netip.Addr{}
			}
		}
	}
	return source
}

// parseHop reads an address with or without a port, IPv6 with or without
// brackets. It returns the zero Addr for anything else.
func parseHop(hop string) netip.Addr {
	host := hop
	if inner, ok := strings.CutPrefix(hop, "["); ok {
		inside, port, closed := strings.Cut(inner, "]")
		if !closed || !strings.Contains(inside, ":") || (port != "" && !isPort(port)) {
			return netip.Addr{}
		}
		host = inside
	} else if colon := strings.IndexByte(hop, ':'); colon >= 0 && colon == strings.LastIndexByte(hop, ':') {
		if !isPort(hop[colon:]) {
			return netip.Addr{}
		}
		host = hop[:colon]
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

// isPort reports whether s is a colon and a port.
func isPort(s string) bool {
	digits, ok := strings.CutPrefix(s, ":")
	_, err := strconv.ParseUint(digits, 10, 16)
	return ok && err == nil
}
