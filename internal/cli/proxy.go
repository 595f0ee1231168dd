// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/internal/cli/cluster"
	"tulle.dev/tulle/internal/cli/dump"
)

func newProxy(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "proxy", Short: "Look into one proxy"}
	cmd.AddCommand(newProxyConfig(g))
	return cmd
}

// parts are what "proxy config" can show.
func parts() []string { return []string{"clusters", "listeners", "routes", "endpoints", "all"} }

func newProxyConfig(g *global) *cobra.Command {
	name := ""
	cmd := &cobra.Command{
		Use:   "config POD " + strings.Join(parts(), "|"),
		Short: "Show what a pod's Envoy runs with",
		Long: `Show what a pod's Envoy runs with, and what it refused.

POD is the name of a pod, or NAMESPACE/NAME. The exit code is 1 when Envoy refused something.`,
		Args: cobra.RangeArgs(1, 2),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return parts(), cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			part := "all"
			if len(args) == 2 {
				part = args[1]
			}
			if !slices.Contains(parts(), part) {
				return fmt.Errorf("%q is not one of %s", part, strings.Join(parts(), ", "))
			}
			c, err := cluster.Connect(g.cluster)
			if err != nil {
				return err
			}
			namespace, pod := c.Namespace, args[0]
			if ns, p, both := strings.Cut(args[0], "/"); both {
				namespace, pod = ns, p
			}
			body, err := c.AdminGet(cmd.Context(), namespace, pod, dump.Path)
			if err != nil {
				return err
			}
			config, err := dump.Parse(body)
			if err != nil {
				return err
			}
			return showConfig(g, config.Matching(name), part)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "only resources whose name contains this")
	return cmd
}

func showConfig(g *global, c dump.Config, part string) error {
	var err error
	if g.output == outputJSON {
		err = printJSON(g.streams.Out, choose(c, part))
	} else {
		err = printConfig(g.streams.Out, c, part)
	}
	if err == nil && len(c.Rejected) > 0 {
		return errFound
	}
	return err
}

// choose is what -o json prints: a list, or everything.
func choose(c dump.Config, part string) any {
	switch part {
	case "clusters":
		return c.Clusters
	case "listeners":
		return c.Listeners
	case "routes":
		return c.Routes
	case "endpoints":
		return c.Endpoints
	}
	return c
}

func printConfig(w io.Writer, c dump.Config, part string) error {
	wanted := func(name string) bool { return part == "all" || part == name }
	var tables []table
	if wanted("listeners") {
		t := newTable(w, "LISTENER", "ADDRESS", "TAKES", "TO", "VERSION")
		for _, l := range c.Listeners {
			t.row(l.Name, l.Address, l.Match, l.To, orDash(l.Version))
		}
		tables = append(tables, t)
	}
	if wanted("routes") {
		t := newTable(w, "ROUTES", "HOSTS", "MATCH", "TO", "VERSION")
		for _, r := range c.Routes {
			t.row(r.Config, r.Domains, r.Match, r.To, orDash(r.Version))
		}
		tables = append(tables, t)
	}
	if wanted("clusters") {
		t := newTable(w, "CLUSTER", "TYPE", "TLS", "VERSION")
		for _, cl := range c.Clusters {
			t.row(cl.Name, cl.Type, cl.TLS, orDash(cl.Version))
		}
		tables = append(tables, t)
	}
	if wanted("endpoints") {
		t := newTable(w, "ENDPOINTS OF", "ADDRESS", "HEALTH", "MTLS", "WEIGHT")
		for _, e := range c.Endpoints {
			t.row(e.Cluster, e.Address, e.Health, strconv.FormatBool(e.MTLS), strconv.Itoa(e.Weight))
		}
		tables = append(tables, t)
	}
	for i, t := range tables {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(c.Rejected) > 0 {
		fmt.Fprintln(w, "\nEnvoy refused, and keeps the version before:")
		for _, r := range c.Rejected {
			printf(w, "  %s: %s\n", r.Name, r.Error)
		}
	}
	return nil
}
