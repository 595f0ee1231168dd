// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/websocket"
)

// echo serves HTTP. It may be used by several goroutines.
type echo struct {
	settings

	mu sync.Mutex
	// failed counts the failed attempts for each uuid of /retry.
	failed map[string]int
}

func newEcho(s settings) *echo { return &echo{settings: s, failed: map[string]int{}} }

func (e *echo) serveH2C(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 2 && r.Header.Get("Upgrade") != "h2c" {
		http.Error(w, "Expected h2c request", http.StatusBadRequest)
		return
	}
	e.answer(w, r)
}

func (e *echo) serve(w http.ResponseWriter, r *http.Request) {
	path := strings.ReplaceAll(r.URL.Path, "//", "/")
	switch {
	case path == "/health":
		io.WriteString(w, "OK")
	case path == "/ws":
		websocket.Server{Handler: func(c *websocket.Conn) { io.Copy(c, c) }}.ServeHTTP(w, r)
	case strings.HasPrefix(path, "/status/"):
		code, err := strconv.Atoi(strings.TrimPrefix(r.RequestURI, "/status/"))
		if err != nil || code < 100 || code > 999 {
			code = http.StatusBadRequest
		}
		w.WriteHeader(code)
	case strings.HasPrefix(path, "/retry/"):
		e.retry(w, r)
	default:
		e.answer(w, r)
	}
}

// retry fails the first succeedAfter attempts of a uuid: with responseCode or, without it, by a reset of
// the connection; with delayRetry after that time.
func (e *echo) retry(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	id := q.Get("uuid")
	after, err := strconv.Atoi(q.Get("succeedAfter"))
	if id == "" || err != nil {
		http.Error(w, "uuid and succeedAfter are required", http.StatusBadRequest)
		return
	}
	e.mu.Lock()
	fail := e.failed[id] < after
	if fail {
		e.failed[id]++
	}
	e.mu.Unlock()
	if !fail {
		e.answer(w, r)
		return
	}
	if !delay(w, r, q.Get("delayRetry")) {
		return
	}
	if code, err := strconv.Atoi(q.Get("responseCode")); err == nil {
		w.WriteHeader(code)
		return
	}
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if t, ok := c.(interface{ SetLinger(int) error }); ok {
		t.SetLinger(0) // closes with RST
	}
	c.Close()
}

// delay waits for a duration, "" for none. It reports whether the request is to be answered.
func delay(w http.ResponseWriter, r *http.Request, text string) bool {
	if text == "" {
		return true
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return false
	}
	select {
	case <-time.After(d):
		return true
	case <-r.Context().Done():
		return false
	}
}

// received is the body of an answer, as the suite parses it.
type received struct {
	Path      string      `json:"path"`
	Host      string      `json:"host"`
	Method    string      `json:"method"`
	Proto     string      `json:"proto"`
	Headers   http.Header `json:"headers"`
	HTTPPort  string      `json:"httpPort"`
	Namespace string      `json:"namespace"`
	Ingress   string      `json:"ingress"`
	Service   string      `json:"service"`
	Pod       string      `json:"pod"`
	TLS       *tlsSeen    `json:"tls,omitempty"`
}

func (e *echo) answer(w http.ResponseWriter, r *http.Request) {
	// The suite looks for this line in the log to find where a mirrored request went.
	fmt.Printf("Echoing back request made to %s to client (%s)\n", r.RequestURI, r.RemoteAddr)
	if !delay(w, r, r.URL.Query().Get("delay")) {
		return
	}
	body, err := json.MarshalIndent(received{
		Path: r.RequestURI, Host: r.Host, Method: r.Method, Proto: r.Proto, Headers: r.Header, HTTPPort: e.httpPort,
		Namespace: e.namespace, Ingress: e.ingress, Service: e.service, Pod: e.pod, TLS: seen(r.TLS),
	}, "", " ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	setHeaders(w.Header(), r.Header["X-Echo-Set-Header"])
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Write(body)
}

// setHeaders sets the headers of lists "name:value,name:value", with names as written.
func setHeaders(to http.Header, lists []string) {
	for _, list := range lists {
		for pair := range strings.SplitSeq(list, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), ":")
			if had := to[name]; had != nil {
				value = had[0] + "," + strings.TrimSpace(value)
			}
			to[name] = []string{value}
		}
	}
}
