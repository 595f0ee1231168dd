// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// from dials from an address of the loopback network.
func from(t *testing.T, source, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: 5 * time.Second}
	c, err := d.DialContext(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func serve(t *testing.T, most Connections, h http.Handler) string {
	t.Helper()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(h, nil)
	go func() {
		if err := s.Serve(Listen(raw, most)); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { s.Close() })
	return raw.Addr().String()
}

// ended tells whether the server has closed a connection. It waits for less than the server waits for a
// request's header: a connection that ends by that was not closed for another one.
func ended(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, err := c.Read(make([]byte, 1))
	var timeout net.Error
	return err != nil && !(errors.As(err, &timeout) && timeout.Timeout())
}

// TestIdleStrangers: connections that send nothing make room for others, and end by their age.
func TestIdleStrangers(t *testing.T) {
	addr := serve(t, Connections{Total: 8, PerAddress: 4, Age: time.Minute}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }))
	var idle []net.Conn
	for _, source := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"} {
		for range 4 {
			idle = append(idle, from(t, source, addr))
		}
	}
	real := from(t, "127.0.0.9", addr)
	if _, err := io.WriteString(real, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(real); err != nil || len(b) < 4 || string(b[len(b)-4:]) != "here" {
		t.Errorf("got %q, %v", b, err)
	}
	// Each time the oldest of the address with the most was closed: two of each address are left, and
	// then the oldest of all made room for the one with a request.
	for _, i := range []int{0, 1, 2, 4, 5, 8, 9, 12, 13} {
		if !ended(idle[i]) {
			t.Errorf("connection %d is open", i)
		}
	}
	addr = serve(t, Connections{Total: 8, PerAddress: 4, Age: 50 * time.Millisecond}, http.NotFoundHandler())
	if !ended(from(t, "127.0.0.2", addr)) {
		t.Error("a connection lives for ever")
	}
}
