// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package attack

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Agent are the attacks on a port of a proxy's agent, which answers scrapes, probes and questions for its health.
func Agent() []Attack {
	return []Attack{
		{"scrapes", true, requests("GET /metrics")},
		{"probes", true, requests(
			"GET /ready", "GET /health", "GET /probe/app/preStop", "GET /probe/app/livez", "GET /probe/0123456789abcdef/app/preStop",
			"POST /quitquitquit", "GET /stats/prometheus", "GET /debug/pprof/heap", "GET /"+strings.Repeat("a", 8000), "BREW /metrics",
		)},
		{"scrapes that nobody reads", false, unreadScrapes},
	}
}

// requests makes one request after the other, and reads the answers.
func requests(lines ...string) func(context.Context, Target) {
	return func(ctx context.Context, to Target) {
		to.keep(ctx, to.Connections, to.Dial, func(ctx context.Context, _ int, c net.Conn) {
			in := bufio.NewReader(c)
			for n := 0; to.send(ctx, costRequest) == nil; n++ {
				_ = c.SetDeadline(time.Now().Add(writeTimeout))
				if _, err := io.WriteString(c, lines[n%len(lines)]+" HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 0\r\n\r\n"); err != nil {
					return
				}
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					return
				}
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.Close {
					return
				}
			}
		})
	}
}

// unreadScrapes asks many times on each connection, and reads nothing.
func unreadScrapes(ctx context.Context, to Target) {
	to.keep(ctx, to.Held, to.Dial, func(ctx context.Context, _ int, c net.Conn) {
		for range 20 {
			if to.send(ctx, costRequest) != nil {
				return
			}
			_ = c.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); err != nil {
				return
			}
		}
		pause(ctx, unread)
	})
}
