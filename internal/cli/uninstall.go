// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/internal/cli/cluster"
	"tulle.dev/tulle/internal/cli/unmesh"
)

type uninstallFlags struct {
	yes, force, dryRun bool
	timeout            time.Duration
}

func newUninstall(g *global) *cobra.Command {
	var u uninstallFlags
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Take everybody out of the mesh, wave by wave, and delete it",
		Long: `Take everybody out of the mesh, wave by wave, and delete it.

Workloads are restarted without a proxy, a few at a time: the next wave begins when the
last is available again. In a mesh that takes mutual TLS only, plaintext is permitted
first. Then the Mesh is deleted, namespaces stop asking for proxies, and what is left is
shown.

What this can't change is listed, and nothing is done: Gateways, routes, pods that no
workload replaces. --force goes on all the same; what is listed is then left without a
mesh, as is a workload that fails to leave. It can be broken off and begun again at any time.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := cluster.Connect(g.cluster)
			if err != nil {
				return err
			}
			return (&uninstall{uninstallFlags: u, g: g, c: c}).run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&u.yes, "yes", "y", false, "do not ask")
	flags.BoolVar(&u.force, "force", false, "also while Gateways, routes or pods depend on the mesh that can't be taken out of it")
	flags.BoolVar(&u.dryRun, "dry-run", false, "show the plan, and do nothing")
	flags.DurationVar(&u.timeout, "timeout", 10*time.Minute, "how long to wait for one wave, and for the Mesh to go")
	return cmd
}

// uninstall is one run of the command.
type uninstall struct {
	uninstallFlags
	g *global
	c *cluster.Cluster
	// left: a workload could not be restarted without a proxy.
	left bool
}

func (u *uninstall) run(ctx context.Context) error {
	seen, err := u.c.UnmeshSeen(ctx)
	if err != nil {
		return err
	}
	p := unmesh.Next(seen)
	if u.dryRun && u.g.output == outputJSON {
		return printJSON(u.g.streams.Out, p)
	}
	if u.g.output != outputJSON {
		printUnmesh(u.g.streams.Out, p, seen)
	}
	switch {
	case len(p.Blockers) > 0 && !u.force:
		if u.g.output == outputJSON {
			if err := printJSON(u.g.streams.Out, p); err != nil {
				return err
			}
		}
		return fmt.Errorf("%d things depend on the mesh that this command can't change: see to them, or leave them without a mesh with --force", len(p.Blockers))
	case u.dryRun:
		return nil
	case !u.yes && !u.agreed(p):
		return fmt.Errorf("not agreed to: nothing was done (--yes does not ask)")
	}
	if err := u.unmesh(ctx, p); err != nil {
		return err
	}
	if seen.Mesh != nil {
		if err := u.delete(ctx, seen, len(p.Blockers) > 0 || u.left); err != nil {
			return err
		}
	}
	for _, ns := range p.Namespaces {
		if err := u.c.StopInjection(ctx, ns); err != nil {
			return err
		}
		u.say("namespace %s asks for proxies no more", ns)
	}
	left, err := u.c.Remains(ctx)
	if err != nil {
		return err
	}
	if u.g.output == outputJSON {
		return printJSON(u.g.streams.Out, left)
	}
	printRemains(u.g.streams.Out, left, u.c.System(ctx))
	return nil
}

// agreed asks for the Mesh's name, which nobody types by mistake.
func (u *uninstall) agreed(p unmesh.Plan) bool {
	want := p.Mesh
	if want == "" {
		want = "yes"
	}
	printf(u.g.streams.Err, "Type %s to go on: ", want)
	line, _ := bufio.NewReader(u.g.streams.In).ReadString('\n') // what is missing is no consent
	return strings.TrimSpace(line) == want
}

// say tells of progress: on standard output for people, beside it for programs.
func (u *uninstall) say(format string, args ...any) {
	w := u.g.streams.Out
	if u.g.output == outputJSON {
		w = u.g.streams.Err
	}
	printf(w, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}
