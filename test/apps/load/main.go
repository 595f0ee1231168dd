// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Command load sends a bounded number of requests and prints what became of
// them; see package tulle.dev/tulle/test/load. It exits by itself: 0 when no
// request failed, 1 when some did, 2 when it could not begin.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"tulle.dev/tulle/test/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	o := load.Options{Headers: http.Header{}}
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.StringVar(&o.URL, "url", "", "http://, https://, grpc://host:port/service/method, tcp://host:port or banner://host:port")
	flags.StringVar(&o.Method, "method", "GET", "HTTP method; Go's client repeats some GETs by itself, never a POST")
	flags.StringVar(&o.Host, "host", "", "Host header")
	flags.Float64Var(&o.Rate, "rate", 0, "requests per second; 0 is as fast as the workers can")
	flags.IntVar(&o.Workers, "workers", 8, "requests under way at once")
	flags.IntVar(&o.Count, "count", 0, "requests to send")
	flags.DurationVar(&o.Duration, "duration", 0, "time to send for; with neither -count nor -duration 100 requests are sent")
	flags.BoolVar(&o.NewConnections, "new-connections", false, "a connection for every request")
	flags.BoolVar(&o.HTTP2, "h2", false, "HTTP/2 without TLS")
	flags.DurationVar(&o.Hold, "hold", 0, "tcp, banner and grpc: a request lasts for so long, with ten exchanges a second (grpc: a stream, /echo.Echo/Calls)")
	flags.DurationVar(&o.Timeout, "timeout", 0, "for one request; 0 is 10 s more than -hold")
	flags.DurationVar(&o.Every, "every", time.Second, "between progress lines")
	linger := flags.Duration("linger", 0, "stay for so long after the end, so that what the pod used can be read")
	asJSON := flags.Bool("json", false, "print progress and result as JSON, one object a line")
	flags.Func("header", "NAME: VALUE, may be repeated", func(s string) error {
		name, value, ok := strings.Cut(s, ":")
		if !ok {
			return fmt.Errorf("%q is not NAME: VALUE", s)
		}
		o.Headers.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(errs, "load: unexpected argument %q\n", flags.Arg(0))
		return 2
	}
	o.Progress = func(s load.Summary) {
		if *asJSON {
			_ = json.NewEncoder(out).Encode(s) // a reader that has gone wants no more lines
			return
		}
		fmt.Fprint(out, s.Text())
	}
	sum, err := load.Run(ctx, o)
	if err != nil {
		fmt.Fprintln(errs, "load:", err)
		return 2
	}
	select {
	case <-ctx.Done():
	case <-time.After(*linger):
	}
	if sum.Failed > 0 {
		return 1
	}
	return 0
}
