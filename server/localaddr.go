package server

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

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

// listenError says why nothing listens on the address of a key, and what to do.
func listenError(key, address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: another process listens on %s: is a gateway running already?", key, address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s: %s is no address of this machine: give one that it has, or leave the host out to listen on all of them", key, address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: the user that the gateway runs as may not listen on %s: choose a port from 1024 on, or give it CAP_NET_BIND_SERVICE", key, address)
	}
	return fmt.Errorf("%s: %w", key, err)
}
