// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"tulle.dev/tulle/test/apps/report"
)

// options are what the command line says.
type options struct {
	target   string
	timeout  time.Duration
	method   string
	host     string
	body     int64
	header   http.Header
	expect   bool
	h2       bool
	send     string
	first    bool
	halfDone bool
}

// result is what became of the exchange.
type result struct {
	// Error is why it did not end well; all else is what came before.
	Error string `json:"error,omitempty"`
	// Seconds to the end, and to the first line or the header of the answer.
	Seconds float64 `json:"seconds"`
	First   float64 `json:"first,omitempty"`
	// Status, Proto, Header and Trailer are of an HTTP answer.
	Status  int                 `json:"status,omitempty"`
	Proto   string              `json:"proto,omitempty"`
	Header  map[string][]string `json:"header,omitempty"`
	Trailer map[string][]string `json:"trailer,omitempty"`
	// Continued says that the server asked for the body with 100 Continue.
	Continued bool `json:"continued,omitempty"`
	// Bytes is the length of the answer, Text its beginning.
	Bytes int64  `json:"bytes,omitempty"`
	Text  string `json:"text,omitempty"`
	// Report is what an echo server said.
	Report report.Report `json:"report"`
}

func main() {
	o, do, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "dial:", err)
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
	defer cancel()
	_ = json.NewEncoder(os.Stdout).Encode(run(ctx, o, do)) // a reader that has gone wants no result
}

type exchange func(context.Context, options, *result) error

func parse(args []string) (options, exchange, error) {
	o := options{header: http.Header{}}
	if len(args) == 0 {
		return o, nil, errors.New("want http, tcp, ws, grpc or dns")
	}
	do, ok := map[string]exchange{"http": doHTTP, "tcp": doTCP, "ws": doWebSocket, "grpc": doGRPC, "dns": doDNS}[args[0]]
	if !ok {
		return o, nil, fmt.Errorf("%q is not http, tcp, ws, grpc or dns", args[0])
	}
	flags := flag.NewFlagSet("dial "+args[0], flag.ContinueOnError)
	flags.DurationVar(&o.timeout, "timeout", 10*time.Second, "for the whole exchange")
	flags.StringVar(&o.method, "method", "GET", "http: the method")
	flags.StringVar(&o.host, "host", "", "http: the Host header")
	flags.Func("header", "http: NAME: VALUE, may be repeated", func(s string) error {
		name, value, ok := strings.Cut(s, ":")
		if !ok {
			return fmt.Errorf("%q is not NAME: VALUE", s)
		}
		o.header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		return nil
	})
	flags.Int64Var(&o.body, "body", 0, "http: length of the body to send, in bytes")
	flags.BoolVar(&o.expect, "expect", false, "http: Expect: 100-continue, and no body before the server wants it")
	flags.BoolVar(&o.h2, "h2", false, "http: HTTP/2 without TLS")
	send := flags.String("send", "", `tcp: what to write, with escapes as in Go's strings ("\r\n")`)
	flags.BoolVar(&o.first, "first", false, "tcp: read a line before writing")
	flags.BoolVar(&o.halfDone, "half-close", false, "tcp: after writing, say that no more comes")
	if err := flags.Parse(args[1:]); err != nil {
		return o, nil, err
	}
	if flags.NArg() != 1 {
		return o, nil, fmt.Errorf("want one target, not %q", flags.Args())
	}
	o.target = flags.Arg(0)
	var err error
	if o.send, err = strconv.Unquote(`"` + *send + `"`); err != nil {
		return o, nil, fmt.Errorf("-send %q: %w", *send, err)
	}
	return o, do, nil
}

func run(ctx context.Context, o options, do exchange) result {
	var r result
	began := time.Now()
	if err := do(ctx, o, &r); err != nil {
		r.Error = err.Error()
	}
	r.Seconds = time.Since(began).Seconds()
	return r
}

// shown is how much of an answer is told, in bytes.
const shown = 4096

// take reads an answer to its end.
func (r *result) take(in io.Reader) error {
	head, err := io.ReadAll(io.LimitReader(in, shown))
	r.Text += string(head)
	r.Bytes += int64(len(head))
	if err != nil {
		return err
	}
	more, err := io.Copy(io.Discard, in)
	r.Bytes += more
	return err
}

func doTCP(ctx context.Context, o options, r *result) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", o.target)
	if err != nil {
		return err
	}
	defer c.Close()
	if end, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(end); err != nil {
			return err
		}
	}
	began := time.Now()
	in := bufio.NewReader(c)
	line := func() error {
		s, err := in.ReadString('\n')
		r.Text += s
		r.Bytes += int64(len(s))
		r.First = time.Since(began).Seconds()
		return err
	}
	if o.first {
		if err := line(); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(c, o.send); err != nil {
		return err
	}
	if o.halfDone {
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
	}
	return r.take(in)
}

func doWebSocket(ctx context.Context, o options, r *result) error {
	u, err := url.Parse(o.target)
	if err != nil {
		return err
	}
	cfg, err := websocket.NewConfig(o.target, "http://"+u.Host)
	if err != nil {
		return err
	}
	c, err := cfg.DialContext(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if end, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(end); err != nil {
			return err
		}
	}
	for _, m := range []string{"hello", strings.Repeat("long ", 10000), "bye"} {
		if err := websocket.Message.Send(c, m); err != nil {
			return err
		}
		back := make([]byte, len(m)) // the echo may cut a message into several
		if _, err := io.ReadFull(c, back); err != nil {
			return err
		}
		if string(back) != m {
			return fmt.Errorf("of %d bytes sent others came back", len(m))
		}
		r.Bytes += int64(len(back))
	}
	return nil
}

func doGRPC(ctx context.Context, o options, r *result) error {
	c, err := grpc.NewClient(o.target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer c.Close()
	r.Report, err = report.Invoke(ctx, c, "/echo.Echo/Call")
	return err
}

// doDNS asks the pod's name servers over UDP, as they are in /etc/resolv.conf.
func doDNS(ctx context.Context, o options, r *result) error {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if !strings.HasPrefix(network, "udp") {
			return nil, fmt.Errorf("asked over %s", network)
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}
	addrs, err := resolver.LookupHost(ctx, o.target)
	r.Text = strings.Join(addrs, " ")
	return err
}
