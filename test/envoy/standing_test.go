// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// standing is a connection that is held while the configuration changes. exchange uses it once more.
type standing struct {
	name     string
	exchange func() error
}

// echoer is an application: lines that come are echoed, on a WebSocket or in a stream of HTTP/2, /ticks is
// an answer that does not end, and any other path says who answers.
type echoer string

func (a echoer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-App", string(a))
	rc := http.NewResponseController(w)
	switch {
	case strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		upgrade(w, r)
	case r.URL.Path == "/ticks":
		for {
			if _, err := io.WriteString(w, "tick\n"); err != nil || rc.Flush() != nil {
				return
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-r.Context().Done():
				return
			}
		}
	case r.URL.Path == "/lines":
		_ = rc.EnableFullDuplex() // HTTP/2 has it, and says so by an error
		_ = rc.Flush()
		for s := bufio.NewScanner(r.Body); s.Scan(); {
			if _, err := fmt.Fprintln(w, s.Text()); err != nil || rc.Flush() != nil {
				return
			}
		}
	}
}

func (a echoer) serve(t *testing.T, l net.Listener) {
	t.Helper()
	var both http.Protocols
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: a, Protocols: &both}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
}

// dialer opens connections to one address, with TLS if a server name is set.
type dialer struct {
	ns         *netns
	addr, name string
}

func (d dialer) dial(ctx context.Context, alpn ...string) (net.Conn, error) {
	c, err := d.ns.dial(ctx, "tcp4", d.addr)
	if err != nil || d.name == "" {
		return c, err
	}
	tc := tls.Client(c, &tls.Config{ServerName: d.name, NextProtos: alpn, InsecureSkipVerify: true}) //nolint:gosec // whose certificate it is does not matter here
	return tc, tc.HandshakeContext(ctx)
}

func (d dialer) open(t *testing.T, alpn ...string) net.Conn {
	t.Helper()
	c, err := d.dial(t.Context(), alpn...)
	if err != nil {
		t.Fatalf("%s %s: %v", d.addr, d.name, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// lines is a connection that echoes lines; greeting is what is read before the first.
func lines(c net.Conn, r *bufio.Reader) func() error {
	n := 0
	return func() error {
		n++
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := fmt.Fprintf(c, "line-%d\n", n); err != nil {
			return err
		}
		got, err := r.ReadString('\n')
		if err == nil && !strings.Contains(got, fmt.Sprintf("line-%d", n)) {
			err = fmt.Errorf("line %d was answered with %q", n, got)
		}
		return err
	}
}

// tcp is a connection to a server that speaks first.
func (d dialer) tcp(t *testing.T, what string) standing {
	t.Helper()
	c := d.open(t)
	r := bufio.NewReader(c)
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return standing{what, lines(c, r)}
}

// websocket is a connection that has become a WebSocket.
func (d dialer) websocket(t *testing.T, what string) standing {
	t.Helper()
	c := d.open(t)
	r := bufio.NewReader(c)
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = fmt.Fprintf(c, "GET /ws HTTP/1.1\r\nHost: a.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%s: %v %v", what, resp, err)
	}
	return standing{what, lines(c, r)}
}

// answer is a request whose answer does not end.
func (d dialer) answer(t *testing.T, what string) standing {
	t.Helper()
	c := d.open(t)
	_, _ = fmt.Fprintf(c, "GET /ticks HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v %v", what, resp, err)
	}
	var mu sync.Mutex // guards what follows
	var ticks int
	var ended error
	go func() {
		s := bufio.NewScanner(resp.Body)
		for s.Scan() {
			mu.Lock()
			ticks++
			mu.Unlock()
		}
		mu.Lock()
		defer mu.Unlock()
		ended = errors.Join(s.Err(), errors.New("the answer has ended"))
	}()
	state := func() (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return ticks, ended
	}
	return standing{what, func() error {
		before, err := state()
		for deadline := time.Now().Add(5 * time.Second); err == nil; time.Sleep(5 * time.Millisecond) {
			var now int
			if now, err = state(); now > before {
				return nil
			}
			if time.Now().After(deadline) {
				return errors.New("nothing comes any more")
			}
		}
		return err
	}}
}

// stream is a stream of HTTP/2 both ways, as gRPC has them.
func (d dialer) stream(t *testing.T, what string) standing {
	t.Helper()
	tr := &http.Transport{
		DialContext:    func(ctx context.Context, _, _ string) (net.Conn, error) { return d.dial(ctx) },
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.dial(ctx, "h2") },
		Protocols:      new(http.Protocols),
	}
	url := "http://a.example.com/lines"
	if d.name == "" {
		tr.Protocols.SetUnencryptedHTTP2(true)
	} else {
		tr.Protocols.SetHTTP2(true)
		url = "https://" + d.name + "/lines"
	}
	body, w := io.Pipe()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(func() { w.Close(); cancel() })
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	late := time.AfterFunc(10*time.Second, cancel)
	resp, err := tr.RoundTrip(req)
	late.Stop()
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v %v", what, resp, err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	in := make(chan string)
	go func() {
		defer close(in)
		for s := bufio.NewScanner(resp.Body); s.Scan(); {
			in <- s.Text()
		}
	}()
	n := 0
	return standing{what, func() error {
		n++
		go fmt.Fprintf(w, "line-%d\n", n)
		select {
		case got, ok := <-in:
			if !ok || got != fmt.Sprintf("line-%d", n) {
				return fmt.Errorf("line %d was answered with %q; open: %v", n, got, ok)
			}
			return nil
		case <-time.After(5 * time.Second):
			return errors.New("no answer in 5 s")
		}
	}}
}

// idle is a connection for one request after the other.
func (d dialer) idle(t *testing.T, what string) (standing, *kept) {
	t.Helper()
	k := keep(t, d.open(t), "a.example.com")
	return standing{what, func() error {
		_ = k.SetDeadline(time.Now().Add(5 * time.Second))
		return k.ask("/")
	}}, k
}
