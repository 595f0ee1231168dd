// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// bounds is a listener whose connections are made by hand.
func bounds(most Connections) *listener {
	return &listener{most: most, open: map[netip.Addr][]*conn{}}
}

// come lets a connection of an address in and returns it, and the numbers of those that had to go.
func (l *listener) come(who int) (*conn, []uint64) {
	c := &conn{Conn: nothing{}, l: l, from: addr(who)}
	var gone []uint64
	for _, old := range l.add(c) {
		gone = append(gone, old.seq)
	}
	return c, gone
}

type nothing struct{ net.Conn }

func (nothing) Close() error { return nil }

// TestConnections: what goes is of the address with most, idle and old; what comes is never turned away.
func TestConnections(t *testing.T) {
	l := bounds(Connections{Total: 6, PerAddress: 4})
	api, _ := l.come(9)
	api.busy = true
	var flood []*conn
	for range 4 {
		c, gone := l.come(1)
		if gone != nil {
			t.Fatalf("%v had to go", gone)
		}
		flood = append(flood, c)
	}
	if _, gone := l.come(1); !slices.Equal(gone, []uint64{flood[0].seq}) {
		t.Errorf("%v had to go: an address has more than its own", gone)
	}
	flood[1].busy = true
	l.come(2)
	if _, gone := l.come(3); !slices.Equal(gone, []uint64{flood[2].seq}) {
		t.Errorf("%v had to go, want the oldest idle one of the address with most", gone)
	}
	_ = flood[3].Close()
	if l.count != 5 {
		t.Errorf("%d are counted", l.count)
	}
	_ = flood[1].Close()
	if l.count != 4 {
		t.Errorf("%d are counted", l.count)
	}
	// Any number of addresses with one connection each reach the API server's busy one last.
	for i := 10; i < 100; i++ {
		_, gone := l.come(i)
		if slices.Contains(gone, api.seq) {
			t.Fatal("the API server's connection had to go")
		}
	}
	if l.count != 6 {
		t.Errorf("%d are counted", l.count)
	}
}

// TestConnectionsRandom: the counts hold whatever comes and goes, and nothing is left at the end.
func TestConnectionsRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 0))
	l := bounds(Connections{Total: 20, PerAddress: 7})
	var all []*conn
	for range 5000 {
		switch {
		case r.IntN(3) > 0 || len(all) == 0:
			c, _ := l.come(r.IntN(9))
			c.busy = r.IntN(2) == 0
			all = append(all, c)
		default:
			_ = all[r.IntN(len(all))].Close() // perhaps once more
		}
		n := 0
		for _, list := range l.open {
			n += len(list)
			if len(list) > 7 || len(list) == 0 {
				t.Fatalf("%d of an address", len(list))
			}
		}
		if n != l.count || n > 20 {
			t.Fatalf("%d open, %d counted", n, l.count)
		}
	}
	for _, c := range all {
		_ = c.Close()
	}
	if l.count != 0 || len(l.open) != 0 {
		t.Errorf("%d are left", l.count)
	}
}

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
