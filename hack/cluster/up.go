// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/hack/cluster/addon"
	"tulle.dev/tulle/hack/cluster/host"
	"tulle.dev/tulle/hack/cluster/layout"
	"tulle.dev/tulle/hack/cluster/node"
	"tulle.dev/tulle/hack/internal/parts"
)

func upCommand(o *options) *cobra.Command {
	var list string
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "up",
		Short: "Start the cluster, or repair it; does nothing if it is well",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			chosen, err := addons(list)
			if err != nil {
				return err
			}
			return up(c.Context(), o, append([]addon.Addon{addon.DNS()}, chosen...), timeout)
		},
	}
	c.Flags().StringVar(&list, "addons", "cert-manager,gateway-api", "what to install besides DNS, separated by commas; none for nothing")
	c.Flags().DurationVar(&timeout, "timeout", 3*time.Minute, "how long the node may take to become ready")
	return c
}

func buildCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "build",
		Short: "Build all parts that are missing in the cache, and start nothing",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			b, err := o.builder()
			if err != nil {
				return err
			}
			own, err := parts.Node(o.kubernetes)
			if err != nil {
				return err
			}
			_, err = b.Build(c.Context(), append(own, parts.Pause(), parts.CoreDNS(), parts.CertManager()))
			return err
		},
	}
}

func up(ctx context.Context, o *options, chosen []addon.Addon, timeout time.Duration) error {
	begin := time.Now()
	if os.Geteuid() != 0 {
		return fmt.Errorf("a cluster needs root: it makes namespaces, mounts and cgroups")
	}
	l, err := o.layout()
	if err != nil {
		return err
	}
	b, err := o.builder()
	if err != nil {
		return err
	}
	if err := parts.Install(ctx, parts.RunTime(), say); err != nil {
		return err
	}
	own, err := parts.Node(o.kubernetes)
	if err != nil {
		return err
	}
	all := append(slices.Clone(own), parts.Pause())
	for _, a := range chosen {
		if a.Part.Name != "" {
			all = append(all, a.Part)
		}
	}
	binaries, err := b.Build(ctx, all)
	if err != nil {
		return err
	}
	unlock, err := host.Lock(l, say)
	if err != nil {
		return err
	}
	defer unlock()
	if err := ensureNode(ctx, l, programs(own, binaries), timeout); err != nil {
		return err
	}
	if err := ensureAddons(ctx, b, l, chosen); err != nil {
		return err
	}
	say(fmt.Sprintf("cluster %s is ready after %s; export KUBECONFIG=%s",
		l.Name, time.Since(begin).Round(100*time.Millisecond), l.Kubeconfig()))
	return nil
}

// ensureNode leaves a node that is ready: the one that runs, if it is or
// becomes well soon, else a new one on the old one's data.
func ensureNode(ctx context.Context, l layout.Layout, programs map[string]string, timeout time.Duration) error {
	r, ok, err := host.ReadRecord(l)
	if err != nil {
		return err
	}
	if ok && r.Alive() {
		why := ""
		if !host.Linked(l) {
			why = "its link to the host is gone"
		} else if err := host.Route(l); err != nil {
			return err
		} else if err := await(ctx, l, min(timeout, 30*time.Second)); err != nil {
			why = err.Error()
		}
		if why == "" {
			if old := outdated(l, programs); len(old) > 0 {
				say("it runs other builds than these sources make: " + strings.Join(old, ", ") + "; `down --keep` and `up` change that")
			}
			return nil
		}
		say("starting the node again: " + why)
	} else if ok {
		say("the node has died; starting it again on its data")
	} else {
		say("starting the node")
	}
	if err := host.Start(l, programs, time.Now()); err != nil {
		return err
	}
	return await(ctx, l, timeout)
}

// programs are the node's own binaries, which are linked by name; the others only go into images.
func programs(own []parts.Part, binaries map[string]string) map[string]string {
	out := map[string]string{}
	for _, p := range own {
		out[p.Name] = binaries[p.Name]
	}
	return out
}

// outdated names the node's programs that are not the ones given, sorted.
func outdated(l layout.Layout, programs map[string]string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		if runs, err := os.Readlink(filepath.Join(l.Bin(), name)); err == nil && runs != programs[name] {
			names = append(names, name)
		}
	}
	return names
}

// await waits until all components are ready and the API answers through the
// host's route, or says which component is in the way and shows its log.
func await(ctx context.Context, l layout.Layout, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	begin := time.Now()
	before, err := node.ReadReport(l.NodeFile())
	if err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		report, err := node.ReadReport(l.NodeFile())
		if err != nil {
			return err
		}
		if report.Failed != "" {
			return fmt.Errorf("the node could not be made: %s", report.Failed)
		}
		if name := hopeless(before, report); name != "" {
			return componentError(l, report, name)
		}
		slow := laggard(report)
		if slow == "" && len(report.Components) > 0 {
			break
		}
		select {
		case <-ctx.Done():
			return componentError(l, report, slow)
		case <-tick.C:
		}
	}
	if err := awaitAPI(ctx, l); err != nil {
		return err
	}
	if took := time.Since(begin); took > 500*time.Millisecond {
		say(fmt.Sprintf("the node is ready after %s", took.Round(100*time.Millisecond)))
	}
	return nil
}

// laggard names the first component that is not ready.
func laggard(r node.Report) string {
	for _, c := range r.Components {
		if c.State != node.Ready {
			return c.Name
		}
	}
	return ""
}

// hopeless names a component that has ended so often since before that waiting
// is no use.
func hopeless(before, now node.Report) string {
	const patience = 5
	restarts := map[string]int{}
	for _, c := range before.Components {
		restarts[c.Name] = c.Restarts
	}
	for _, c := range now.Components {
		if c.State == node.BackOff && c.Restarts-restarts[c.Name] >= patience {
			return c.Name
		}
	}
	return ""
}

// componentError tells what is wrong with a component, with the end of its log.
func componentError(l layout.Layout, r node.Report, name string) error {
	if name == "" {
		return fmt.Errorf("the node has not begun; the end of its log:\n%s", tail(l.Log("node"), 20))
	}
	for _, c := range r.Components {
		if c.Name == name {
			return fmt.Errorf("%s is not ready: %s for %s, started again %d times, last end: %s; the end of its log (%s):\n%s",
				c.Name, c.State, time.Since(c.Since).Round(time.Second), c.Restarts, orNone(c.LastExit), l.Log(name), tail(l.Log(name), 20))
		}
	}
	return fmt.Errorf("%s is not ready", name)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// ensureAddons installs those add-ons that are not installed or do not work.
// The pause image comes first: without it no pod can start.
func ensureAddons(ctx context.Context, b *parts.Builder, l layout.Layout, chosen []addon.Addon) error {
	if _, err := loadPart(ctx, b, l, parts.Pause(), "1"); err != nil {
		return err
	}
	t := target(b, l)
	var wait sync.WaitGroup
	errs := make([]error, len(chosen))
	for i, a := range chosen {
		// Packing one after the other, waiting for all together.
		install, err := addon.Prepare(ctx, t, a)
		if err != nil {
			return err
		}
		wait.Go(func() {
			begin := time.Now()
			if errs[i] = install(ctx); errs[i] == nil && time.Since(begin) > time.Second {
				say(fmt.Sprintf("%s works after %s", a.Name, time.Since(begin).Round(100*time.Millisecond)))
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}
