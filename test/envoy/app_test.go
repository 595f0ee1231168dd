// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// echo is what the application says it was asked.
type echo struct {
	Pod, Method, Host, Path, Proto, Peer, Body string
	Headers                                    map[string]string
	Trailers                                   map[string]string
	Upgrade                                    string
}

// app is an HTTP server that answers with an echo. Query parameters change the answer: status=N,
// sleep=DURATION, trailer=1, header=NAME:VALUE,
// flaky=N with id=ANY (the first N requests with that id are answered with 503).
type app struct {
	name   string
	asked  atomic.Int64
	flaky  sync.Map // id -> *atomic.Int64: how often it was asked
	server *http.Server
}

// serve runs an app on a listener, on a server that edit may change; HTTP/1.1 and HTTP/2 with prior knowledge.
func serve(t *testing.T, l net.Listener, name string, edit ...func(*http.Server)) *app {
	t.Helper()
	a := &app{name: name}
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	a.server = &http.Server{Handler: a, Protocols: &p, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 20000}}
	for _, f := range edit {
		f(a.server)
	}
	go a.server.Serve(l)
	t.Cleanup(func() { a.server.Close() })
	return a
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.asked.Add(1)
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		upgrade(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	e := echo{
		Pod: a.name, Method: r.Method, Host: r.Host, Path: r.RequestURI, Proto: r.Proto, Peer: r.RemoteAddr,
		Body: string(body), Headers: map[string]string{}, Trailers: map[string]string{},
	}
	for k, v := range r.Header {
		e.Headers[strings.ToLower(k)] = strings.Join(v, ",")
	}
	for k, v := range r.Trailer {
		e.Trailers[strings.ToLower(k)] = strings.Join(v, ",")
	}
	q := r.URL.Query()
	if n, err := strconv.Atoi(q.Get("flaky")); err == nil {
		if seen, _ := a.flaky.LoadOrStore(q.Get("id"), new(atomic.Int64)); seen.(*atomic.Int64).Add(1) <= int64(n) {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
	}
	if d, err := time.ParseDuration(q.Get("sleep")); err == nil {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
			return
		}
	}
	if k, v, ok := strings.Cut(q.Get("header"), ":"); ok {
		w.Header().Set(k, v)
	}
	w.Header().Set("Server", "app/"+a.name)
	if q.Get("trailer") != "" {
		w.Header().Set("Trailer", "X-Sum")
	}
	if n, err := strconv.Atoi(q.Get("status")); err == nil {
		w.WriteHeader(n)
	}
	_ = json.NewEncoder(w).Encode(e)
	if q.Get("trailer") != "" {
		w.Header().Set("X-Sum", "42")
	}
}

// upgrade speaks no WebSocket but what an upgrade is: bytes both ways after 101.
func upgrade(w http.ResponseWriter, r *http.Request) {
	c, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString([]byte("yes")))
	_ = rw.Flush()
	s := bufio.NewScanner(rw)
	for s.Scan() {
		_, _ = fmt.Fprintf(rw, "%s to you\n", s.Text())
		_ = rw.Flush()
	}
}

// banner is a server-first server: it greets, then echoes lines.
func banner(t *testing.T, l net.Listener, name string) {
	t.Helper()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = fmt.Fprintf(c, "220 %s\n", name)
				s := bufio.NewScanner(c)
				for s.Scan() {
					_, _ = fmt.Fprintf(c, "250 %s\n", s.Text())
				}
			}()
		}
	}()
}

// client asks from inside a namespace. Redirections are not followed.
func client(ns *netns, protocols ...string) *http.Client {
	tr := &http.Transport{DialContext: ns.dial, MaxIdleConnsPerHost: 64, DisableCompression: true}
	if len(protocols) > 0 {
		var p http.Protocols
		p.SetUnencryptedHTTP2(true)
		tr.Protocols = &p
	}
	return &http.Client{
		Transport:     tr,
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// http2Over speaks HTTP/2 over one connection, without asking what was negotiated.
func http2Over(c net.Conn) *http.Transport {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	return &http.Transport{Protocols: &p, DialContext: func(context.Context, string, string) (net.Conn, error) { return struct{ net.Conn }{c}, nil }}
}

// answer is a response with the echo in it, if the application was reached.
type answer struct {
	status  int
	headers http.Header
	trailer http.Header
	echo    echo
	body    string
}

func ask(ctx context.Context, c *http.Client, method, url string, edit func(*http.Request)) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return answer{}, err
	}
	if edit != nil {
		edit(req)
	}
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: resp.StatusCode, headers: resp.Header, trailer: resp.Trailer, body: string(b)}
	_ = json.Unmarshal(b, &a.echo) // not every answer is an echo
	return a, nil
}

// get asks and fails the test if there is no answer.
func get(t *testing.T, c *http.Client, url string, edit func(*http.Request)) answer {
	t.Helper()
	a, err := ask(t.Context(), c, http.MethodGet, url, edit)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	return a
}
