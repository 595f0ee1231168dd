// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/internal/cli/check"
	"tulle.dev/tulle/internal/cli/cluster"
	"tulle.dev/tulle/internal/cli/ports"
	"tulle.dev/tulle/internal/cli/status"
)

func newStatus(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the mesh, its control plane and its proxies by version, and what wants attention",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := cluster.Connect(g.cluster)
			if err != nil {
				return err
			}
			f, err := c.Observe(cmd.Context())
			if err != nil {
				return err
			}
			r := status.Of(f)
			if g.output == outputJSON {
				err = printJSON(g.streams.Out, r)
			} else {
				err = printStatus(g.streams.Out, r)
			}
			if err == nil && check.Worst(r.Findings) == check.Problem {
				return errFound
			}
			return err
		},
	}
}

func printStatus(w io.Writer, r status.Report) error {
	if r.Mesh == nil {
		fmt.Fprintln(w, "There is no Mesh in this cluster.")
	} else {
		t := newTable(w, "MESH", "WANTED", "SERVING", "READY", "MTLS", "TRUST DOMAIN")
		ready := "yes"
		if !r.Mesh.Ready {
			ready = "no (" + r.Mesh.Reason + ")"
		}
		t.row(r.Mesh.Name, r.Mesh.Wanted, orDash(r.Mesh.Serving), ready, r.Mesh.MTLS, r.Mesh.TrustDomain)
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(r.ControlPlane) > 0 {
		fmt.Fprintln(w)
		t := newTable(w, "CONTROL PLANE", "REVISION", "READY")
		for _, c := range r.ControlPlane {
			t.row(c.Name, c.Revision, fmt.Sprintf("%d/%d", c.Ready, c.Wanted))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(r.Proxies) > 0 {
		fmt.Fprintln(w)
		t := newTable(w, "PROXIES", "VERSION", "PODS", "READY", "CONNECTED", "REJECTING")
		for _, p := range r.Proxies {
			connected := "?"
			if p.Connected != nil {
				connected = strconv.Itoa(*p.Connected)
			}
			t.row(p.Kind, orDash(p.Version), strconv.Itoa(p.Pods), strconv.Itoa(p.Ready), connected, strconv.Itoa(p.Rejecting))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(r.Bytes) > 0 {
		fmt.Fprintln(w)
		t := newTable(w, "CARRIED AS BYTES", "PORTS")
		for _, ns := range namespacesOf(r.Bytes) {
			t.row(ns.name, ns.ports)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(r.Findings) > 0 {
		fmt.Fprintln(w, "\nWants attention:")
		for _, f := range r.Findings {
			printf(w, "  [%s] %s: %s\n      -> %s\n", f.Level, f.Section, f.Message, f.Fix)
		}
	}
	return nil
}

// mostPorts bounds how many ports of a namespace are named.
const mostPorts = 3

type namespacePorts struct{ name, ports string }

// namespacesOf counts the ports of each namespace and names the first; the list is sorted by namespace.
func namespacesOf(list []ports.Port) []namespacePorts {
	var out []namespacePorts
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].Namespace == list[0].Namespace {
			n++
		}
		var named []string
		for _, p := range list[:min(n, mostPorts)] {
			named = append(named, p.String())
		}
		text := fmt.Sprintf("%d: %s", n, strings.Join(named, ", "))
		if n > mostPorts {
			text += fmt.Sprintf(" and %d more", n-mostPorts)
		}
		out = append(out, namespacePorts{list[0].Namespace, text})
		list = list[n:]
	}
	return out
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
