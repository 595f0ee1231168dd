// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
	"tulle.dev/tulle/test/apps/report"
)

// dialed is what the dial app tells; its result says what the fields mean.
type dialed struct {
	Error          string
	Seconds, First float64
	Status         int
	Proto          string
	Header         map[string][]string
	Trailer        map[string][]string
	Continued      bool
	Bytes          int64
	Text           string
	Report         report.Report
}

// from is a pod of the echo app, as a place to dial from.
type from struct {
	c       *cluster.Cluster
	ns, pod string
}

// podOf is the only pod with the label app=NAME.
func podOf(t *testing.T, c *cluster.Cluster, ns, name string) from {
	t.Helper()
	pods := c.Pods(t, ns, "app="+name)
	if len(pods) != 1 {
		t.Fatalf("%d pods of %s/%s, want one", len(pods), ns, name)
	}
	return from{c, ns, pods[0].Name}
}

// dial does one exchange.
func (f from) dial(t *testing.T, args ...string) dialed {
	t.Helper()
	d, err := f.tryDial(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// tryDial is dial for goroutines. The error is for an exchange of which nothing is known.
func (f from) tryDial(ctx context.Context, args ...string) (d dialed, err error) {
	out := ""
	for range 3 { // the end of a process sometimes overtakes its output on the way through kubelet and API server
		if out, err = f.c.Exec(ctx, f.ns, f.pod, "app", append([]string{"/dial"}, args...)...); err != nil || out != "" {
			break
		}
	}
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		return d, fmt.Errorf("read %q of dial %v: %w", out, args, err)
	}
	return d, nil
}

// get asks a URL until it is answered with 200: Services, DNS and proxies learn of what was applied one after another.
func (f from) get(t *testing.T, url string) dialed {
	t.Helper()
	var d dialed
	cluster.Eventually(t, 30*time.Second, "GET "+url+" from "+f.pod, func() error {
		if d = f.dial(t, "http", "-timeout", "5s", url); d.Error != "" || d.Status != 200 {
			return fmt.Errorf("%d %s %s", d.Status, d.Text, d.Error)
		}
		return nil
	})
	return d
}

// echoes sends bytes to a TCP echo and wants them back, after what it says first.
func (f from) echoes(t *testing.T, address, first string, flags ...string) dialed {
	t.Helper()
	var d dialed
	cluster.Eventually(t, 30*time.Second, "echo of "+address+" for "+f.pod, func() error {
		args := append([]string{"tcp", "-timeout", "5s", "-half-close", "-send", `ping\nand more`}, flags...)
		d = f.dial(t, append(args, address)...)
		if d.Error != "" || !strings.HasPrefix(d.Text, first) || !strings.HasSuffix(d.Text, "ping\nand more") {
			return fmt.Errorf("%q %s", d.Text, d.Error)
		}
		return nil
	})
	return d
}

// admin asks the pod's Envoy.
func (f from) admin(t *testing.T, path string) string {
	t.Helper()
	out, err := f.c.Exec(t.Context(), f.ns, f.pod, names.ContainerSlotA, "/tulle-proxy", "admin", "GET", path)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// stat adds up the statistics of the pod's Envoy whose names begin and end so.
func (f from) stat(t *testing.T, prefix, suffix string) int {
	t.Helper()
	sum := 0
	for line := range strings.Lines(f.admin(t, "/stats")) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if n, err := strconv.Atoi(value); ok && err == nil && strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix) {
			sum += n
		}
	}
	return sum
}
