// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

var update = flag.Bool("update", false, "record what the components expose, for the test of the alerts; of a mesh whose status tells of an upgrade")

// TestSeries: the components expose the series that the alerts are tested with, under the same names
// and labels. hack/bundle/alerts holds the alerts against what is recorded here.
func TestSeries(t *testing.T) {
	c := cluster.Connect(t)
	m := c.Mesh(t, meshName())
	ns := c.Namespace(t, "series", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server"})
	c.Ready(t, ns, "server")
	for kind, at := range map[string]struct {
		namespace, label string
		port             int
	}{
		"operator":     {names.SystemNamespace, names.LabelApp + "=" + names.Operator, 8080},
		"controlplane": {names.SystemNamespace, names.LabelApp + "=" + names.ControlPlaneService, names.PortMonitor},
		"proxy":        {ns, "app=server", names.PortAgent},
	} {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join("../../hack/bundle/alerts/testdata", kind+".txt")
			// Of several operators the one that leads has the most to show; of a component that has just
			// started not everything has been counted.
			cluster.Eventually(t, time.Minute, "the series are there", func() error {
				live := map[string]string{}
				for _, p := range c.Pods(t, at.namespace, at.label) {
					text, err := c.Kube.CoreV1().Pods(p.Namespace).ProxyGet("http", p.Name, strconv.Itoa(at.port), "/metrics", nil).DoRaw(t.Context())
					if err != nil {
						return err
					}
					maps.Copy(live, ours(string(text)))
				}
				if len(live) == 0 {
					return fmt.Errorf("nothing is exposed")
				}
				if *update {
					return record(path, kind, live)
				}
				text, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				var missing []string
				for s := range ours(string(text)) {
					_, there := live[s]
					ofUpgrade := strings.HasPrefix(s, "tulle_upgrade_") && !strings.Contains(s, "_total")
					if !there && (!ofUpgrade || m.Status.Upgrade != nil) {
						missing = append(missing, s)
					}
				}
				if slices.Sort(missing); len(missing) > 0 {
					return fmt.Errorf("recorded, but exposed by nobody (after a change on purpose, record them anew: -run TestSeries -update): %s", strings.Join(missing, "\n"))
				}
				return nil
			})
		})
	}
}

// ours are the series of a scrape that alerts may ask for, with their values.
func ours(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		end := strings.LastIndexByte(line, ' ')
		for _, prefix := range []string{"tulle_", "leader_election_master_status", "controller_runtime_reconcile_errors_total"} {
			if strings.HasPrefix(line, prefix) && end > 0 {
				out[line[:end]] = line[end+1:]
			}
		}
	}
	return out
}

func record(path, kind string, live map[string]string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# What the %s exposes of its own, on a real cluster:\n# go test ./test/e2e -run TestSeries -update, on a mesh whose status tells of an upgrade.\n", kind)
	for _, s := range slices.Sorted(maps.Keys(live)) {
		fmt.Fprintf(&b, "%s %s\n", s, live[s])
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
