// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
)

// longWinded answers /hang when its client has gone, and /field/N with a header of N bytes.
func longWinded(t *testing.T, l net.Listener) {
	t.Helper()
	var both http.Protocols
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: &both, MaxHeaderBytes: 1 << 20, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, ok := strings.CutPrefix(r.URL.Path, "/field/"); ok {
			size, _ := strconv.Atoi(n)
			w.Header().Set("X-Long", long64(size))
		}
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path == "/hang" {
			<-r.Context().Done()
			return
		}
		_, _ = io.WriteString(w, strconv.Itoa(len(r.Header.Get("X-Long"))))
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
}

// long64 is n bytes that HTTP/2 does not compress: Huffman's code would make more of them.
func long64(n int) string { return strings.Repeat("~", n) }

// TestLongFields: where one header field is longer than 64 KiB, in a request or in an answer, and if it is
// longer than proxies take, that request alone fails. All requests share a connection between two proxies.
func TestLongFields(t *testing.T) {
	for _, protocol := range []model.Protocol{model.HTTP, model.HTTP2} {
		t.Run(string(protocol), func(t *testing.T) {
			m := newMesh(t)
			to := m.sidecar(t, "a", "198.18.9.11", model.Inbound{Ports: []model.InboundPort{{Port: 8080, Protocol: protocol}}}, nil)
			longWinded(t, to.listen(t, ":8080"))
			s := service{name: "cart", vip: "198.19.9.1", protocol: protocol, accounts: []string{"a"}, endpoints: []model.Endpoint{meshed(to.ip, 8080)}}
			d := door{"mesh", m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, s.all(m)).netns, "198.19.9.1:80"}

			c, r := d.dial(t)
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			send(t, c, "GET /hang HTTP/1.1\r\nHost: h\r\n\r\n")
			if got := line(t, r); got != "HTTP/1.1 200 OK" {
				t.Fatal(got)
			}
			ended := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, r)
				ended <- fmt.Errorf("the answer ended: %w", err)
			}()
			for _, f := range []struct {
				length            int
				request, response int
			}{
				{40_000, 200, 200},
				{66_000, 200, 200},
				{100_000, 200, 200},
				{128_000, 200, 200},
				{132_000, 431, 502},
				{300_000, 431, 502},
			} {
				if got := d.send(t, "GET / HTTP/1.1\r\nHost: h\r\nX-Long: "+long64(f.length)+"\r\n\r\n"); got.status != f.request {
					t.Errorf("a request with %d bytes: %d, want %d", f.length, got.status, f.request)
				}
				c := client(d.ns)
				c.Transport.(*http.Transport).MaxResponseHeaderBytes = 1 << 20
				if got, err := ask(t.Context(), c, http.MethodGet, fmt.Sprintf("http://198.19.9.1/field/%d", f.length), nil); err != nil || got.status != f.response && !(f.response == 502 && got.status == 503) {
					t.Errorf("an answer with %d bytes: %d, %v, want %d", f.length, got.status, err, f.response)
				}
				select {
				case err := <-ended:
					t.Fatalf("%d bytes: %v", f.length, err)
				default:
				}
			}
			if n := to.stat(t, `^http\.std/in-http[12]\.downstream_cx_total$`); n != 1 {
				t.Errorf("%d connections between the proxies", n)
			}
		})
	}
}
