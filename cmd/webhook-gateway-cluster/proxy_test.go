package main

import (
	"io"
	"net"
	"testing"
	"time"
)

// What is sent while the way is cut arrives when it is mended, and not before.
func TestProxy(t *testing.T) {
	echo, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = echo.Close() }()
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); _ = conn.Close() }()
		}
	}()
	p, err := newProxy(echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	exchange := func(text string, patience time.Duration) error {
		if _, err := conn.Write([]byte(text)); err != nil {
			return err
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		_, err := io.ReadFull(conn, make([]byte, len(text)))
		return err
	}
	if err := exchange("hello", time.Minute); err != nil {
		t.Fatal(err)
	}
	p.cut()
	if err := exchange("to nobody", 50*time.Millisecond); err == nil {
		t.Error("the way is cut, and there is an answer")
	}
	p.mend()
	if err := exchange("", time.Minute); err != nil {
		t.Error(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	got := make([]byte, len("to nobody"))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "to nobody" {
		t.Errorf("after it was mended came %q, %v", got, err)
	}
	p.reset()
	if err := exchange("x", time.Minute); err == nil {
		t.Error("the connection was broken off, and there is an answer")
	}
}
