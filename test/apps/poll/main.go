// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("poll", flag.ContinueOnError)
	flags.SetOutput(errs)
	every := flags.Duration("every", 5*time.Millisecond, "between two requests to a target; the next waits for the answer to the last")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() == 0 || *every <= 0 {
		fmt.Fprintln(errs, "poll: want one target at least, and a time between requests")
		return 2
	}
	var targets []target
	for _, arg := range flags.Args() {
		t, err := parse(arg)
		if err != nil {
			fmt.Fprintln(errs, "poll:", err)
			return 2
		}
		targets = append(targets, t)
	}
	var mu sync.Mutex // guards lines
	lines := json.NewEncoder(out)
	tell := func(c Change) {
		mu.Lock()
		defer mu.Unlock()
		_ = lines.Encode(c) // a reader that has gone wants no more lines
	}
	var all sync.WaitGroup
	for _, t := range targets {
		all.Go(func() { t.poll(ctx, *every, tell) })
	}
	all.Wait()
	return 0
}

// parse reads "NAME URL [ADDRESS]".
func parse(arg string) (target, error) {
	fields := strings.Fields(arg)
	if len(fields) != 2 && len(fields) != 3 {
		return target{}, fmt.Errorf("%q is not NAME URL [ADDRESS]", arg)
	}
	u, err := url.Parse(fields[1])
	if err != nil {
		return target{}, fmt.Errorf("target %s: %w", fields[0], err)
	}
	if u.Scheme != "http" || u.Host == "" {
		return target{}, fmt.Errorf("target %s: %q is not http://HOST", fields[0], fields[1])
	}
	t := target{name: fields[0], url: fields[1], address: u.Host}
	if u.Port() == "" {
		t.address = net.JoinHostPort(u.Hostname(), "80")
	}
	if len(fields) == 3 {
		t.address = fields[2]
	}
	return t, nil
}
