package server

import "net"

// LocalAddr returns where a client on the gateway's own machine reaches a listener, by its
// address in Listen. It is empty if the address does not tell: port 0 picks one.
func LocalAddr(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" {
		return ""
	}
	// NOTE: not localhost, a name that an image without /etc/hosts does not have.
	switch ip, every := listenIP(host); {
	case every && ip.Is6():
		host = "::1"
	case every:
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
