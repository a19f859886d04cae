package webhook

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestSource(t *testing.T) {
	t.Parallel()
	const peer = "10.0.0.1:4711" // a trusted proxy
	tests := []struct {
		name         string
		trusted      []string
		remote       string
		forwardedFor []string
		want         string // empty: unknown
	}{
		{"no proxy", nil, "203.0.113.9:4711", nil, "203.0.113.9"},
		{"no proxy is trusted: the header is ignored", nil, "203.0.113.9:4711", []string{"52.60.234.183"}, "203.0.113.9"},
		{"an untrusted peer cannot spoof", []string{"10.0.0.0/8"}, "203.0.113.9:4711", []string{"52.60.234.183, 10.0.0.2"}, "203.0.113.9"},
		{"behind one proxy", []string{"10.0.0.0/8"}, peer, []string{"203.0.113.9"}, "203.0.113.9"},
		{"proxy given as an address", []string{"10.0.0.1"}, peer, []string{"203.0.113.9"}, "203.0.113.9"},
		{"another address of its network is not trusted", []string{"10.0.0.1"}, peer, []string{"203.0.113.9, 10.0.0.2"}, "10.0.0.2"},
		{"no header: the proxy itself", []string{"10.0.0.0/8"}, peer, nil, "10.0.0.1"},
		{"empty header: the proxy itself", []string{"10.0.0.0/8"}, peer, []string{""}, "10.0.0.1"},
		{"behind two proxies", []string{"10.0.0.0/8"}, peer, []string{"203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		{"what the sender put in front is not believed", []string{"10.0.0.0/8"}, peer, []string{"52.60.234.183, 203.0.113.9"}, "203.0.113.9"},
		{"nor in a header of its own", []string{"10.0.0.0/8"}, peer, []string{"52.60.234.183", "203.0.113.9"}, "203.0.113.9"},
		{"nor a trusted address in front", []string{"10.0.0.0/8"}, peer, []string{"10.0.0.3, 203.0.113.9", "10.0.0.2"}, "203.0.113.9"},
		{"several headers are one list", []string{"10.0.0.0/8"}, peer, []string{"203.0.113.9", "10.0.0.3, 10.0.0.2"}, "203.0.113.9"},
		{"all are trusted: the left-most", []string{"10.0.0.0/8"}, peer, []string{"10.0.0.4, 10.0.0.3", "10.0.0.2"}, "10.0.0.4"},
		{"empty elements are skipped", []string{"10.0.0.0/8"}, peer, []string{"203.0.113.9, ,,\t10.0.0.2,"}, "203.0.113.9"},
		{"garbage makes it unknown", []string{"10.0.0.0/8"}, peer, []string{"52.60.234.183, unknown, 10.0.0.2"}, ""},
		{"garbage left of the source does not matter", []string{"10.0.0.0/8"}, peer, []string{"unknown, 203.0.113.9"}, "203.0.113.9"},
		{"a host name is garbage", []string{"10.0.0.0/8"}, peer, []string{"localhost"}, ""},
		{"address with a port", []string{"10.0.0.0/8"}, peer, []string{"203.0.113.9:567"}, "203.0.113.9"},
		{"a port that is none", []string{"10.0.0.0/8"}, peer, []string{"203.0.113.9:99999"}, ""},
		{"an empty port", []string{"10.0.0.0/8"}, peer, []string{"203.0.113.9:"}, ""},
		{"IPv6", []string{"10.0.0.0/8"}, peer, []string{"2001:db8::9"}, "2001:db8::9"},
		{"IPv6 in brackets", []string{"10.0.0.0/8"}, peer, []string{"[2001:db8::9]"}, "2001:db8::9"},
		{"IPv6 in brackets with a port", []string{"10.0.0.0/8"}, peer, []string{"[2001:db8::9]:80"}, "2001:db8::9"},
		{"IPv6 with an open bracket", []string{"10.0.0.0/8"}, peer, []string{"[2001:db8::9"}, ""},
		{"IPv6 in brackets with more", []string{"10.0.0.0/8"}, peer, []string{"[2001:db8::9]80"}, ""},
		{"IPv4 in brackets", []string{"10.0.0.0/8"}, peer, []string{"[203.0.113.9]:80"}, ""},
		{"IPv6 peer", []string{"2001:db8:1::/48"}, "[2001:db8:1::1]:4711", []string{"2001:db8::9"}, "2001:db8::9"},
		{"IPv6 peer with a zone", []string{"fe80::/10"}, "[fe80::1%eth0]:4711", []string{"203.0.113.9"}, "203.0.113.9"},
		{"zones are dropped", nil, "[fe80::1%eth0]:4711", nil, "fe80::1"},
		{"IPv4-mapped peer", []string{"10.0.0.0/8"}, "[::ffff:10.0.0.1]:4711", []string{"203.0.113.9"}, "203.0.113.9"},
		{"IPv4-mapped source", []string{"10.0.0.0/8"}, peer, []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"IPv4-mapped source in hexadecimal", []string{"10.0.0.0/8"}, peer, []string{"::ffff:cb00:7109"}, "203.0.113.9"},
		{"IPv4-mapped proxy in the configuration", []string{"::ffff:10.0.0.0/104"}, peer, []string{"203.0.113.9"}, "203.0.113.9"},
		{"IPv4-mapped address in the configuration", []string{"::ffff:10.0.0.1"}, peer, []string{"203.0.113.9"}, "203.0.113.9"},
		{"host bits in a network", []string{"10.1.2.3/8"}, peer, []string{"203.0.113.9"}, "203.0.113.9"},
		{"no address of the connection", []string{"10.0.0.0/8"}, "@", []string{"203.0.113.9"}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			trusted, err := parseProxies(test.trusted)
			if err != nil {
				t.Fatal(err)
			}
			var want netip.Addr
			if test.want != "" {
				want = netip.MustParseAddr(test.want)
			}
			if got := trusted.source(test.remote, test.forwardedFor); got != want {
				t.Errorf("source = %v, want %v", got, want)
			}
		})
	}
}

// FuzzSource asserts what the source check of a provider rests on, whatever the
// sender puts into the header.
func FuzzSource(f *testing.F) {
	for _, seed := range []string{
		"", ",", "52.60.234.183", "10.0.0.2", "unknown", "[::1]:80", "::ffff:10.0.0.1", "10.0.0.2,10.0.0.3", "1.2.3.4:5, 10.0.0.9",
	} {
		f.Add(seed, seed)
	}
	trusted, err := parseProxies([]string{"10.0.0.0/8", "fd00::/8"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		if got := trusted.source("203.0.113.9:1", []string{first, second}); got != netip.MustParseAddr("203.0.113.9") {
			t.Errorf("a header of an untrusted peer made its source %v", got)
		}
		got := trusted.source("10.0.0.1:1", []string{first, second})
		if got.Is4In6() || got.Zone() != "" {
			t.Errorf("source %v is not normalised", got)
		}
		if joined := trusted.source("10.0.0.1:1", []string{first + "," + second}); joined != got {
			t.Errorf("source of two headers is %v, of one %v", got, joined)
		}
		// The proxy appends whom it got the request from: nothing in front counts.
		if got := trusted.source("10.0.0.1:1", []string{first, second + ", 203.0.113.9"}); got != netip.MustParseAddr("203.0.113.9") {
			t.Errorf("what the sender put in front made its source %v", got)
		}
		// An untrusted source is one that the header names.
		if got.IsValid() && !trusted.trust(got) && !slices.ContainsFunc(strings.Split(first+","+second, ","), func(hop string) bool {
			return parseHop(strings.Trim(hop, " \t")) == got
		}) {
			t.Errorf("source %v is in none of %q and %q", got, first, second)
		}
	})
}
