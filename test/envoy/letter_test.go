// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// peculiar are answers by path.
func peculiar() map[string]string {
	return map[string]string{
		"/reason":   "HTTP/1.1 200 Very Well\r\nContent-Length: 0\r\n\r\n",
		"/odd":      "HTTP/1.1 299 Whatever\r\nContent-Length: 0\r\n\r\n",
		"/case":     "HTTP/1.1 200 OK\r\nX-MiXeD: One\r\nContent-Length: 0\r\n\r\n",
		"/hints":    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"/trailer":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n",
		"/head":     "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n",
		"/both":     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"/twice":    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
		"/identity": "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
		"/gzip":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"/blank":    "HTTP/1.1 200 OK\r\nX One: 1\r\nContent-Length: 2\r\n\r\nok",
		"/upgrade":  "HTTP/1.1 426 Upgrade Required\r\nUpgrade: foo/1\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n",
		"/denied":   "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
		"/page":     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	}
}

// peculiarly is verbatim with such answers.
func peculiarly(l net.Listener) {
	answers := peculiar()
	serve := func(c net.Conn) {
		defer c.Close()
		r, head := bufio.NewReader(c), ""
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if head += line; line != "\r\n" {
				continue
			}
			answer, ok := answers[strings.Fields(head)[1]]
			if !ok {
				shown := strings.TrimSuffix(head, "\r\n")
				answer = fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(shown), shown)
			}
			_, _ = io.WriteString(c, answer)
			head = ""
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

// TestToTheLetter holds docs/concepts/http.md to what is true.
func TestToTheLetter(t *testing.T) {
	doors := ways(t, peculiarly)
	// Requests, and what the application gets of the first line, or the status.
	for request, want := range map[string]string{
		"GET http://example.org/x?y HTTP/1.1\r\nHost: other\r\n\r\n":                           ": GET /x?y",
		"GET ftp://example.org/x HTTP/1.1\r\nHost: example.org\r\n\r\n":                        "400",
		"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n":                                                "404",
		"GET /a HTTP/1.0\r\n\r\n":                                                              ": GET /a",
		"GET /a HTTP/1.1\r\n\r\n":                                                              "400",
		"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n":                   "501",
		"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n":     "501",
		"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n":        "400",
		"GET /a|b HTTP/1.1\r\nHost: h\r\n\r\n":                                                 ": GET /a%7Cb",
		"GET /a\\b HTTP/1.1\r\nHost: h\r\n\r\n":                                                ": GET /a/b",
		"QUERY /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n":                            "400",
		"CONNECT example.org HTTP/1.1\r\nHost: example.org\r\n\r\n":                            "400",
		"GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: wasm\r\n\r\n":           "403",
		"GET /denied HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n": "403",
	} {
		for _, d := range doors {
			d.wanted(t, request, want)
		}
	}
	// Answers: the status line, header lines but Date, and what follows.
	for request, want := range map[string]string{
		"GET /reason":   "200 OK|content-length: 0",
		"GET /odd":      "299 Unknown|content-length: 0",
		"GET /case":     "200 OK|x-mixed: One|content-length: 0",
		"GET /hints":    "103 Unknown|link: </a>",
		"GET /trailer":  "200 OK|transfer-encoding: chunked|2|ok|0|x-sum: 42",
		"HEAD /head":    "200 OK|content-length: 12345",
		"GET /both":     "502",
		"GET /twice":    "502",
		"GET /identity": "502",
		"GET /gzip":     "502",
		"GET /blank":    "502",
		"GET /upgrade":  "426 Upgrade Required|content-length: 0",
	} {
		for _, d := range doors {
			if got := d.answer(t, request+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); got != want && !strings.HasPrefix(got, want+"|") && !strings.HasPrefix(got, want+" ") {
				t.Errorf("%s, %s: got %q, want %q", d.name, request, got, want)
			}
		}
	}
	for _, d := range doors {
		// A server that ignores the offer of a WebSocket and answers as if it was not there.
		want := map[string]int{"out": 200, "in": 200, "mesh": 101, "edge": 101}[d.name]
		if got := d.send(t, "GET /page HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"); got.status != want || len(got.head) > 1 {
			t.Errorf("%s, an ignored WebSocket: %d %q", d.name, got.status, got.head)
		}
		// A client that closes its sending side gets no answer.
		c, r := d.dial(t)
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(c, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
		_ = c.(*net.TCPConn).CloseWrite()
		if resp, err := http.ReadResponse(r, nil); err == nil {
			t.Logf("%s: a half-closed request was answered with %d", d.name, resp.StatusCode) // it may be, if the answer comes first
			_ = resp.Body.Close()
		}
		_ = c.Close()
	}
}

// answer is all that comes back, in one line, without the version and Date.
func (d door) answer(t *testing.T, request string) string {
	t.Helper()
	c, r := d.dial(t)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, request)
	b, err := io.ReadAll(r)
	if err != nil {
		t.Errorf("%s, %.60q: %v", d.name, request, err)
	}
	var out []string
	for _, line := range strings.Split(strings.TrimPrefix(string(b), "HTTP/1.1 "), "\r\n") {
		if line != "" && !strings.HasPrefix(line, "date: ") && line != "connection: close" {
			out = append(out, line)
		}
	}
	return strings.Join(out, "|")
}
