// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/internal/cli/cluster"
	"tulle.dev/tulle/internal/cli/linediff"
	"tulle.dev/tulle/internal/lifecycle/shadow"
)

// confirmAfter is how long a difference must last to be shown: the cluster goes on changing between
// two questions.
const confirmAfter = time.Second

// aroundChange is how many lines are shown around a change.
const aroundChange = 3

func newUpgradeDiff(g *global) *cobra.Command {
	full, name := false, ""
	cmd := &cobra.Command{
		Use:   "diff",
		Short: "Show what the other release's control plane makes of the cluster otherwise",
		Long: `Show what the control plane of the other release, which runs beside the one that
serves from phase Shadow of an upgrade on, makes of the cluster otherwise: which
resources of the proxies change, come and go, and which objects it newly rejects.

With --full every changed resource is shown with its differences, as JSON. The exit
code is 1 when an object is newly rejected.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := cluster.Connect(g.cluster)
			if err != nil {
				return err
			}
			return runDiff(cmd.Context(), g, c, full, name)
		},
	}
	cmd.Flags().BoolVar(&full, "full", false, "show the differences of each changed resource")
	cmd.Flags().StringVar(&name, "name", "", "with --full: only resources whose name contains this")
	return cmd
}

// diffView is what "tulle upgrade diff -o json" prints.
type diffView struct {
	shadow.Difference
	Summary string `json:"summary"`
	// Changes are the differences of resources, with --full.
	Changes []resourceDiff `json:"changes,omitempty"`
}

type resourceDiff struct {
	Type string `json:"type"`
	Name string `json:"name"`
	// Diff is as "diff -u" writes it; Note says why there is none.
	Diff string `json:"diff,omitempty"`
	Note string `json:"note,omitempty"`
}

func runDiff(ctx context.Context, g *global, c *cluster.Cluster, full bool, name string) error {
	before, after, err := sides(ctx, c)
	if err != nil {
		return err
	}
	d, err := lasting(ctx, c, before, after)
	if err != nil {
		return err
	}
	v := diffView{Difference: d, Summary: d.Summary()}
	if full {
		if v.Changes, err = changes(ctx, c, before, after, d, name); err != nil {
			return err
		}
	}
	if g.output == outputJSON {
		err = printJSON(g.streams.Out, v)
	} else {
		err = printDiff(g.streams.Out, v)
	}
	if err == nil && len(d.NewlyRejected()) > 0 {
		return errFound
	}
	return err
}

// sides picks a replica of the revision that serves, and one of the youngest other revision.
func sides(ctx context.Context, c *cluster.Cluster) (before, after cluster.Replica, err error) {
	m, err := c.ActiveMesh(ctx)
	if err != nil {
		return before, after, err
	}
	replicas, err := c.Replicas(ctx)
	if err != nil {
		return before, after, err
	}
	serving := slices.IndexFunc(replicas, func(r cluster.Replica) bool { return r.Revision == m.Status.Revision })
	other := slices.IndexFunc(replicas, func(r cluster.Replica) bool { return r.Revision != m.Status.Revision })
	switch {
	case serving < 0:
		return before, after, errors.New("no replica of the control plane that serves is ready: tulle status says more")
	case other < 0:
		return before, after, fmt.Errorf("only the control plane of revision %s runs: there is one to compare it with from phase Shadow of an upgrade on", m.Status.Revision)
	}
	return replicas[serving], replicas[other], nil
}

// lasting is the difference that two looks show.
func lasting(ctx context.Context, c *cluster.Cluster, before, after cluster.Replica) (shadow.Difference, error) {
	first, err := compare(ctx, c, before, after)
	if err != nil || first.None() {
		return first, err
	}
	if err := pause(ctx, confirmAfter); err != nil {
		return first, err
	}
	later, err := compare(ctx, c, before, after)
	return first.Confirmed(later), err
}

func compare(ctx context.Context, c *cluster.Cluster, before, after cluster.Replica) (shadow.Difference, error) {
	a, err := c.Translation(ctx, before)
	if err != nil {
		return shadow.Difference{}, err
	}
	b, err := c.Translation(ctx, after)
	if err != nil {
		return shadow.Difference{}, err
	}
	return shadow.Diff(a, b), nil
}

// changes asks both sides for each changed resource.
func changes(ctx context.Context, c *cluster.Cluster, before, after cluster.Replica, d shadow.Difference, name string) ([]resourceDiff, error) {
	var out []resourceDiff
	for _, k := range d.Kinds {
		for _, n := range k.Changed {
			if !strings.Contains(n, name) {
				continue
			}
			r := resourceDiff{Type: k.Type, Name: n}
			a, err := c.Translated(ctx, before, k.Type, n)
			b := ""
			if err == nil {
				b, err = c.Translated(ctx, after, k.Type, n)
			}
			switch {
			case errors.Is(err, cluster.ErrHidden):
				r.Note = err.Error()
			case err != nil:
				return nil, err
			case a == b:
				r.Note = "no longer different"
			default:
				r.Diff = linediff.Unified(a, b, aroundChange)
			}
			out = append(out, r)
		}
	}
	return out, nil
}

func printDiff(w io.Writer, v diffView) error {
	t := newTable(w, "KIND", v.Old, v.New, "CHANGED", "ADDED", "REMOVED")
	for _, k := range v.Kinds {
		t.row(k.Noun(), strconv.Itoa(k.Old), strconv.Itoa(k.New), strconv.Itoa(len(k.Changed)), strconv.Itoa(len(k.Added)), strconv.Itoa(len(k.Removed)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if rejected := v.NewlyRejected(); len(rejected) > 0 {
		printf(w, "\n%s rejects, and %s does not:\n", v.New, v.Old)
		for _, o := range rejected {
			printf(w, "  %s: %s (%s): %s\n", objectText(o), o.Condition, o.Reason, o.Message)
		}
	}
	for _, r := range v.Changes {
		printf(w, "\n--- %s %s\n+++ %s %s\n", v.Old, r.Name, v.New, r.Name)
		if r.Note != "" {
			printf(w, "(%s)\n", r.Note)
		}
		fmt.Fprint(w, r.Diff)
	}
	printf(w, "\nFrom %s to %s: %s.\n", v.Old, v.New, v.Summary)
	return nil
}

func objectText(o shadow.Object) string {
	text := o.Kind + " " + o.Name
	if o.Namespace != "" {
		text = o.Kind + " " + o.Namespace + "/" + o.Name
	}
	if o.Where != "" {
		text += ", " + o.Where
	}
	return text
}
