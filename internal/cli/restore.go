// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/backup"
	"tulle.dev/tulle/internal/cli/cluster"
	"tulle.dev/tulle/internal/lifecycle/release"
)

type restoreFlags struct {
	file                      string
	dryRun, withoutKeys, wait bool
	version                   string
	timeout                   time.Duration
}

func newRestore(g *global) *cobra.Command {
	var r restoreFlags
	cmd := &cobra.Command{
		Use:   "restore -f FILE",
		Short: "Put a mesh back that tulle backup wrote down, with the same identities",
		Long: `Put a mesh back that tulle backup wrote down, with the same identities: pods of the
old mesh and of the restored one verify each other.

The cluster needs cert-manager, the Gateway API and the operator, and no mesh. Nothing
that is there is changed, so it can be done again. What would mix two meshes is refused:
another trust domain, another root.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return restore(cmd.Context(), g, r)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&r.file, "filename", "f", "", "file of tulle backup, - for standard input")
	flags.BoolVar(&r.dryRun, "dry-run", false, "say what would be done, and do nothing")
	flags.BoolVar(&r.withoutKeys, "without-keys", false, "leave the backup's keys out: the mesh gets a new root")
	flags.StringVar(&r.version, "version", "", "release to run instead of the backup's")
	flags.BoolVar(&r.wait, "wait", false, "wait until the mesh is Ready, and look whether it has the backup's root")
	flags.DurationVar(&r.timeout, "timeout", 5*time.Minute, "how long to wait")
	_ = cmd.MarkFlagRequired("filename")
	_ = cmd.MarkFlagFilename("filename", "yaml")
	return cmd
}

func restore(ctx context.Context, g *global, r restoreFlags) error {
	text, err := readBackup(g, r.file)
	if err != nil {
		return err
	}
	f, err := backup.Parse(text)
	if err != nil {
		return err
	}
	c, err := cluster.Connect(g.cluster)
	if err != nil {
		return err
	}
	target, err := c.BackupTarget(ctx)
	if err != nil {
		return err
	}
	p, err := backup.Restore(f, target, backup.Options{WithoutKeys: r.withoutKeys, Version: r.version, Known: release.Known("", "")}, time.Now())
	if err != nil {
		return err
	}
	done := make([]restored, 0, len(p.Steps))
	for _, s := range p.Steps {
		if s.Create && !r.dryRun {
			if err := c.Create(ctx, s.Object); err != nil {
				return err
			}
		}
		line := restored{Kind: s.Object.GetKind(), Name: s.Object.GetName(), Create: s.Create, Why: s.Why}
		done = append(done, line)
		if g.output != outputJSON {
			printf(g.streams.Out, "%s\n", line.text(r.dryRun))
		}
	}
	if g.output == outputJSON {
		err = printJSON(g.streams.Out, struct {
			DryRun  bool       `json:"dryRun"`
			Objects []restored `json:"objects"`
			Notes   []string   `json:"notes"`
		}{r.dryRun, done, append([]string{}, p.Notes...)})
	} else {
		for _, n := range p.Notes {
			printf(g.streams.Out, "%s\n", n)
		}
	}
	if err != nil || !r.wait || r.dryRun {
		return err
	}
	return awaitRestored(ctx, g, c, p, r.timeout)
}

func readBackup(g *global, file string) ([]byte, error) {
	var text []byte
	var err error
	if file == "-" {
		text, err = io.ReadAll(g.streams.In)
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("read backup: %w", err)
	}
	return text, nil
}

// restored is what became of one object.
type restored struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Create bool   `json:"create"`
	// Why it is left as it is.
	Why string `json:"why,omitempty"`
}

func (r restored) text(dryRun bool) string {
	what := "created"
	switch {
	case !r.Create:
		what = "left: " + r.Why
	case dryRun:
		what = "would be created"
	}
	return fmt.Sprintf("%s %s: %s", r.Kind, r.Name, what)
}

// awaitRestored waits until the mesh works, with the root that it had.
func awaitRestored(ctx context.Context, g *global, c *cluster.Cluster, p backup.Plan, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	why := "the operator has not begun"
	for {
		m, err := c.ActiveMesh(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case err == nil:
			for _, r := range m.Status.Roots {
				if r.Active && len(p.Roots) > 0 && !slices.Contains(p.Roots, r.SHA256) {
					return fmt.Errorf("Mesh %s has come up with another root (%.12s) than the backup's (%.12s): pods of the two don't trust each other; look at Certificate tulle-root and at cert-manager's log", m.Name, r.SHA256, p.Roots[0]) //nolint:staticcheck // a name
				}
			}
			ready := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionReady)
			if ready != nil && ready.Status == "True" && ready.ObservedGeneration == m.Generation {
				if g.output != outputJSON {
					printf(g.streams.Out, "Mesh %s is Ready.\n", m.Name)
				}
				return nil
			}
			if ready != nil {
				why = cmp.Or(ready.Message, ready.Reason)
			}
		}
		if err := pause(ctx, watchEvery); errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("Mesh %s is not Ready within %s: %s", p.Mesh, timeout, why) //nolint:staticcheck // a name
		} else if err != nil {
			return err
		}
	}
}
