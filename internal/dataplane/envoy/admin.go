// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tulle.dev/tulle/internal/names"
)

// Admin talks to Envoy's admin interface on a unix socket. Safe for concurrent use.
type Admin struct{ client *http.Client }

// NewAdmin makes a client for the socket. Nothing is sent yet.
func NewAdmin(socket string) *Admin {
	return &Admin{client: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		MaxIdleConns:    1,
		IdleConnTimeout: 10 * time.Second,
		ReadBufferSize:  4096,
	}}}
}

// do sends a request; the caller closes the body.
func (a *Admin) do(ctx context.Context, method, path string) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://envoy"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := a.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask Envoy: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		resp.Body.Close()
		return nil, fmt.Errorf("ask Envoy for %s: %d %s", path, resp.StatusCode, strings.TrimSpace(string(b)))
	}
	return resp.Body, nil
}

// call sends a request whose answer does not matter.
func (a *Admin) call(ctx context.Context, method, path string) error {
	body, err := a.do(ctx, method, path)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, body)
	return err
}

// Prometheus copies Envoy's statistics in the Prometheus text format, but for those that have addresses of
// clients: in Prometheus each would be a time series.
func (a *Admin) Prometheus(ctx context.Context, w io.Writer) error {
	body, err := a.do(ctx, http.MethodGet, "/stats/prometheus?usedonly")
	if err != nil {
		return err
	}
	defer body.Close()
	const left = "envoy_" + names.StatPlaintext + "_"
	lines := bufio.NewReader(body)
	for {
		line, err := lines.ReadBytes('\n')
		if !bytes.HasPrefix(bytes.TrimPrefix(line, []byte("# TYPE ")), []byte(left)) {
			if _, err := w.Write(line); err != nil {
				return fmt.Errorf("pass Envoy's statistics on: %w", err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read Envoy's statistics: %w", err)
		}
	}
}

// Live reports whether Envoy has begun to serve and has not been told to fail its health check. It costs next to nothing.
func (a *Admin) Live(ctx context.Context) error { return a.call(ctx, http.MethodGet, "/ready") }

// Raw asks for any path and copies the answer.
func (a *Admin) Raw(ctx context.Context, method, path string, w io.Writer) error {
	body, err := a.do(ctx, method, path)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.Copy(w, body); err != nil {
		return fmt.Errorf("read Envoy's answer: %w", err)
	}
	return nil
}

// SetLogLevel changes the level of all of Envoy's loggers.
func (a *Admin) SetLogLevel(ctx context.Context, level string) error {
	return a.call(ctx, http.MethodPost, "/logging?level="+url.QueryEscape(level))
}

// Drain says which listeners stop, and how.
type Drain string

// Drains.
const (
	// DrainGracefully tells clients to go (Connection: close, GOAWAY) and closes the listeners after
	// the drain time.
	DrainGracefully Drain = "/drain_listeners?graceful"
	// DrainInboundOpen tells the clients of the application to go, and goes on accepting.
	DrainInboundOpen Drain = "/drain_listeners?graceful&skip_exit&inboundonly"
	// DrainAllOpen tells all clients to go, and goes on accepting.
	DrainAllOpen Drain = "/drain_listeners?graceful&skip_exit"
	// CloseInbound closes the inbound listeners at once; connections stay.
	CloseInbound Drain = "/drain_listeners?inboundonly"
	// CloseAll closes all listeners at once; connections stay.
	CloseAll Drain = "/drain_listeners"
)

// Drain begins a drain. It does not wait for its end.
func (a *Admin) Drain(ctx context.Context, d Drain) error {
	return a.call(ctx, http.MethodPost, string(d))
}

// values reads the statistics whose names match the regular expression.
func (a *Admin) values(ctx context.Context, filter string) (map[string]uint64, error) {
	out := map[string]uint64{}
	err := a.lines(ctx, "/stats?type=All&filter=", filter, func(line string) {
		if name, n, ok := value(line); ok {
			out[name] = n
		}
	})
	return out, err
}

// value reads a line that tells a counter or a gauge.
func value(line string) (name string, n uint64, ok bool) {
	// Names have no spaces, and some have colons: the value is what follows the last ": ".
	i := strings.LastIndex(line, ": ")
	if i < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(line[i+2:], 10, 64)
	return line[:i], n, err == nil
}

// maxLine is the longest line of an answer: a histogram has up to some hundred bins of 20 bytes.
const maxLine = 256 << 10

// lines passes the lines of an answer about statistics to f.
func (a *Admin) lines(ctx context.Context, path, filter string, f func(string)) error {
	body, err := a.do(ctx, http.MethodGet, path+url.QueryEscape(filter))
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		f(lines.Text())
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read Envoy's statistics: %w", err)
	}
	return nil
}
