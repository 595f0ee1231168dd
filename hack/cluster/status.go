// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/hack/cluster/host"
	"tulle.dev/tulle/hack/cluster/layout"
	"tulle.dev/tulle/hack/cluster/node"
)

func statusCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how the cluster and its components are; exit status 1 if not well",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := o.layout()
			if err != nil {
				return err
			}
			r, ok, err := host.ReadRecord(l)
			if err != nil {
				return err
			}
			switch {
			case !ok:
				return fmt.Errorf("cluster %s is not up", l.Name)
			case !r.Alive():
				return fmt.Errorf("cluster %s has died: run `up` to start it again on its data, or `down` to remove it", l.Name)
			}
			return showStatus(l, r)
		},
	}
}

func showStatus(l layout.Layout, r host.Record) error {
	report, err := node.ReadReport(l.NodeFile())
	if err != nil {
		return err
	}
	fmt.Printf("cluster     %s, range %d, up for %s\n", l.Name, l.Range, time.Since(r.Started).Round(time.Second))
	fmt.Printf("api         %s\n", l.APIServer())
	fmt.Printf("kubeconfig  %s\n", l.Kubeconfig())
	fmt.Printf("pods        %s\nservices    %s\nbalancers   %s\n", l.Pods(), l.Services(), l.LoadBalancers())
	if g, err := readGuard(r.Pid); err != nil {
		fmt.Printf("guard       %v\n", err)
	} else {
		fmt.Printf("guard       %d packets to the host, %d stopped on their way elsewhere\n", g["passed"], g["stopped"])
	}
	fmt.Println()
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "COMPONENT\tSTATE\tFOR\tRESTARTS\tLAST END")
	for _, c := range report.Components {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\n", c.Name, c.State, time.Since(c.Since).Round(time.Second), c.Restarts, c.LastExit)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print status: %w", err)
	}
	if !host.Linked(l) {
		return fmt.Errorf("the link to the host is gone: run `up`")
	}
	if name := laggard(report); name != "" {
		return fmt.Errorf("%s is not ready: see `logs %s`", name, name)
	}
	return nil
}

// readGuard reads the packet counters of the node's guard (see package node).
func readGuard(pid int) (map[string]int, error) {
	out, err := inNode(pid, "nft", "-j", "list", "counters", "table", "inet", "guard").Output()
	if err != nil {
		return nil, fmt.Errorf("read the guard's counters: %w", err)
	}
	return parseCounters(out)
}

// parseCounters reads nft's JSON.
func parseCounters(data []byte) (map[string]int, error) {
	var list struct {
		NFTables []struct {
			Counter *struct {
				Name    string `json:"name"`
				Packets int    `json:"packets"`
			} `json:"counter"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("parse nft counters: %w", err)
	}
	counters := map[string]int{}
	for _, e := range list.NFTables {
		if e.Counter != nil {
			counters[e.Counter.Name] = e.Counter.Packets
		}
	}
	return counters, nil
}

// tail is the last lines of a file; of a missing one, a line that says so.
func tail(file string, lines int) string {
	const most = 1 << 20
	f, err := os.Open(file)
	if err != nil {
		return "(" + err.Error() + ")"
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "(" + err.Error() + ")"
	}
	buf := make([]byte, min(info.Size(), most))
	if _, err := f.ReadAt(buf, info.Size()-int64(len(buf))); err != nil {
		return "(" + err.Error() + ")"
	}
	all := strings.Split(strings.TrimRight(string(buf), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
