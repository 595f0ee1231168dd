// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
)

// TestVary: each answer of a rule with a CORS filter says once that it depends on Origin, beside what the
// application says of it: with an origin and without, allowed or not, to preflights, and of the proxy itself.
func TestVary(t *testing.T) {
	cors := &model.CORS{Origins: []string{"https://one.example", "https://two.example"}, Methods: []string{"GET", "PUT"}, MaxAge: 600}
	edge, mesh := doors(t, newMesh(t), varying,
		model.Rule{Match: prefix("/any"), CORS: cors},
		model.Rule{Match: prefix("/late"), CORS: cors, Timeout: 50 * time.Millisecond},
		model.Rule{Match: prefix("/none")},
	)
	for _, d := range []door{edge, mesh} {
		for _, c := range []struct {
			method, path, headers string
			status                int
			allowed, vary         string
		}{
			{"GET", "/any", "", 200, "", "Origin"},
			{"GET", "/any", "Origin: https://one.example", 200, "https://one.example", "Origin"},
			{"GET", "/any", "Origin: https://three.example", 200, "", "Origin"},
			{"GET", "/any", "X-Vary: Accept-Encoding", 200, "", "Accept-Encoding,Origin"},
			{"GET", "/any", "Origin: https://two.example\r\nX-Vary: Accept, Cookie", 200, "https://two.example", "Accept, Cookie,Origin"},
			{"GET", "/any", "X-Vary: origin", 200, "", "origin"},
			{"GET", "/any", "X-Vary: Accept, Origin", 200, "", "Accept, Origin"},
			{"GET", "/any", "X-Vary: Origin|Cookie", 200, "", "Origin,Cookie"},
			{"GET", "/any", "X-Vary: X-Origin", 200, "", "X-Origin,Origin"},
			{"GET", "/any", "X-Vary: *", 200, "", "*"},
			{"OPTIONS", "/any", "Origin: https://one.example\r\nAccess-Control-Request-Method: GET", 200, "https://one.example", "Origin"},
			{"OPTIONS", "/any", "Origin: https://three.example\r\nAccess-Control-Request-Method: GET", 200, "", "Origin"},
			{"GET", "/late", "Origin: https://one.example", 504, "https://one.example", "Origin"},
			{"GET", "/none", "Origin: https://one.example\r\nX-Vary: Accept", 200, "", "Accept"},
			{"GET", "/none", "Origin: https://one.example", 200, "", ""},
		} {
			conn, r := d.dial(t)
			_, _ = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: www.example.com\r\n%s\r\n\r\n", c.method, c.path, c.headers+strings.Repeat("\r\nX-None: 1", 1-min(len(c.headers), 1)))
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			conn.Close()
			if got := strings.Join(resp.Header["Vary"], ","); resp.StatusCode != c.status || got != c.vary || resp.Header.Get("Access-Control-Allow-Origin") != c.allowed {
				t.Errorf("%s, %s %s %q: %d, Vary %q, allowed %q; want %d, %q, %q", d.name, c.method, c.path, c.headers,
					resp.StatusCode, got, resp.Header.Get("Access-Control-Allow-Origin"), c.status, c.vary, c.allowed)
			}
		}
	}
}

// varying is a server that has the values of X-Vary, between bars, as its Vary. It is silent at /late.
func varying(l net.Listener) {
	serve := func(c net.Conn) {
		defer c.Close()
		r := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if req.URL.Path == "/late" {
				continue
			}
			lines := ""
			if v := req.Header.Get("X-Vary"); v != "" {
				lines = "Vary: " + strings.ReplaceAll(v, "|", "\r\nVary: ") + "\r\n"
			}
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%sContent-Length: 0\r\n\r\n", lines)
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
}
