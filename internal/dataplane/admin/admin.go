// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"tulle.dev/tulle/internal/dataplane/slot"
	"tulle.dev/tulle/internal/protocol"
)

// Paths are those that may be asked for, with any query. All of them only read: Envoy changes
// something on POST alone, and those paths are not here.
func Paths() []string {
	return []string{"/certs", "/clusters", "/config_dump", "/listeners", "/memory", "/ready", "/server_info", "/stats", "/stats/prometheus"}
}

// timeout bounds one request; a big dump takes well under a second.
const timeout = 30 * time.Second

// Run is the verb: args are the method, which must be GET, and the path.
func Run(ctx context.Context, args []string, out io.Writer) error {
	return run(ctx, slot.PodLayout(), args, out)
}

func run(ctx context.Context, l slot.Layout, args []string, out io.Writer) error {
	if len(args) != 2 || args[0] != http.MethodGet {
		return errors.New("usage: tulle-proxy admin GET PATH")
	}
	target, err := allowed(args[1])
	if err != nil {
		return err
	}
	chosen, err := active(l)
	if err != nil {
		return err
	}
	return get(ctx, l.Root+strings.TrimPrefix(protocol.AdminSocket(chosen), protocol.RunDir), target, out)
}

// allowed checks a path against the list and returns it with its query.
func allowed(path string) (string, error) {
	u, err := url.ParseRequestURI(path)
	if err != nil || u.Host != "" || u.Scheme != "" {
		return "", fmt.Errorf("%q is not a path", path)
	}
	if !slices.Contains(Paths(), u.Path) {
		return "", fmt.Errorf("path %q may not be asked for; these may: %s", u.Path, strings.Join(Paths(), ", "))
	}
	return u.RequestURI(), nil
}

// active is the slot whose Envoy serves: the Ready one of the higher generation, else any that
// runs an agent, because a proxy that does not get ready is the one worth looking into.
func active(l slot.Layout) (string, error) {
	best, rank := protocol.State{}, 0
	for _, name := range []string{"a", "b"} {
		s, err := l.State(name)
		if err != nil {
			return "", fmt.Errorf("read state of slot %s: %w", name, err)
		}
		r := 0
		switch s.Phase {
		case protocol.PhaseReady:
			r = 3
		case protocol.PhaseStarting, protocol.PhaseFailed:
			r = 2
		case protocol.PhaseDraining:
			r = 1
		}
		if r > rank || r == rank && r > 0 && s.Generation > best.Generation {
			best, rank = s, r
		}
	}
	if rank == 0 {
		return "", errors.New("no slot of this pod runs an Envoy")
	}
	return best.Slot, nil
}

// get asks over the unix socket and copies the answer.
func get(ctx context.Context, socket, target string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://envoy"+target, nil)
	if err != nil {
		return fmt.Errorf("ask Envoy for %s: %w", target, err)
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask Envoy for %s: %w", target, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(res.Body, 512))
		return fmt.Errorf("ask Envoy for %s: %s: %s", target, res.Status, strings.TrimSpace(string(body)))
	}
	if _, err := io.Copy(out, res.Body); err != nil {
		return fmt.Errorf("ask Envoy for %s: %w", target, err)
	}
	return nil
}
