// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/duration"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/cluster"
)

func newUpgrade(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Change the release of the mesh, and see how that goes",
		Long: `Change the release of the mesh, and see how that goes.

The operator does the work; these commands read and write the Mesh: "to", "pause",
"resume" and "rollback" change its spec, as kubectl would.`,
	}
	cmd.AddCommand(newUpgradeStatus(g), newUpgradePlan(g), newUpgradeDiff(g), newUpgradeTo(g), newUpgradePause(g, true), newUpgradePause(g, false), newUpgradeRollback(g))
	return cmd
}

// watchEvery is how often the Mesh is read while it is being watched.
const watchEvery = time.Second

func newUpgradeStatus(g *global) *cobra.Command {
	watch := false
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the latest change of the release goes, or went",
		Long: `Show how the latest change of the release goes, or went.

The exit code is 1 when it is being rolled back or was. With --watch it is shown
whenever it changes, until the upgrade has ended.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := cluster.Connect(g.cluster)
			if err != nil {
				return err
			}
			var last *upgradeView
			for {
				m, err := c.ActiveMesh(cmd.Context())
				if err != nil {
					return err
				}
				now := viewOf(m)
				if last == nil || !equality.Semantic.DeepEqual(*last, now) {
					if err := showUpgrade(g, now, last != nil); err != nil {
						return err
					}
					last = &now
				}
				if !watch || now.ended() {
					return now.verdict()
				}
				if err := pause(cmd.Context(), watchEvery); err != nil {
					return err
				}
			}
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on until the upgrade has ended")
	return cmd
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// upgradeView is what "tulle upgrade status -o json" prints.
type upgradeView struct {
	Mesh    string `json:"mesh"`
	Wanted  string `json:"wantedVersion"`
	Serving string `json:"servingVersion"`
	Paused  bool   `json:"paused"`
	// Upgrade is status.upgrade; nil: the release was never changed.
	Upgrade *v1alpha1.UpgradeStatus `json:"upgrade,omitempty"`
}

func viewOf(m v1alpha1.Mesh) upgradeView {
	return upgradeView{Mesh: m.Name, Wanted: m.Spec.Version, Serving: m.Status.Version, Paused: m.Spec.Upgrade.Paused, Upgrade: m.Status.Upgrade}
}

// pending tells whether the operator has yet to look at what is wanted.
func (v upgradeView) pending() bool {
	switch u := v.Upgrade; {
	case u == nil:
		return v.Serving != v.Wanted
	case u.Phase == v1alpha1.PhaseRolledBack:
		return v.Wanted != u.To && v.Wanted != u.From
	case u.Phase == v1alpha1.PhaseCompleted:
		return v.Wanted != u.To
	}
	return false
}

func (v upgradeView) ended() bool {
	return !v.pending() && (v.Upgrade == nil || v.Upgrade.Phase == v1alpha1.PhaseCompleted || v.Upgrade.Phase == v1alpha1.PhaseRolledBack)
}

// verdict is the exit code.
func (v upgradeView) verdict() error {
	if u := v.Upgrade; u != nil && !v.pending() && (u.Phase == v1alpha1.PhaseRollingBack || u.Phase == v1alpha1.PhaseRolledBack) {
		return errFound
	}
	return nil
}

func showUpgrade(g *global, v upgradeView, again bool) error {
	if g.output == outputJSON {
		return printJSON(g.streams.Out, v)
	}
	if again {
		fmt.Fprintln(g.streams.Out)
	}
	return printUpgrade(g.streams.Out, v, time.Now())
}

func printUpgrade(w io.Writer, v upgradeView, now time.Time) error {
	u := v.Upgrade
	if u == nil {
		if v.pending() {
			printf(w, "The mesh is to run %s and runs %s; the operator has not begun yet.\n", v.Wanted, orDash(v.Serving))
			return nil
		}
		printf(w, "The mesh runs %s; its release was never changed.\n", v.Wanted)
		return nil
	}
	t := newTable(w, "MESH", "FROM", "TO", "PHASE", "SINCE", "WAVE", "PROXIES")
	wave, proxies := "-", "-"
	if u.Waves > 0 {
		wave = fmt.Sprintf("%d/%d", u.Wave, u.Waves)
	}
	if u.Proxies > 0 {
		proxies = fmt.Sprintf("%d of %d", u.Replaced, u.Proxies)
	}
	t.row(v.Mesh, u.From, u.To, string(u.Phase), duration.HumanDuration(now.Sub(u.Since.Time)), wave, proxies)
	if err := t.Flush(); err != nil {
		return err
	}
	if u.Message != "" {
		printf(w, "\n%s\n", u.Message)
	}
	if v.pending() {
		printf(w, "\nThe mesh is to run %s now; the operator has not begun yet.\n", v.Wanted)
	}
	if v.Paused {
		fmt.Fprintln(w, "\nPaused: tulle upgrade resume goes on.")
	}
	if u.Difference != "" {
		printf(w, "\nDifference: %s\n", u.Difference)
	}
	if u.Finished != nil {
		printf(w, "\nIt took %s.\n", duration.HumanDuration(u.Finished.Sub(u.Started.Time)))
	}
	if len(u.Gates) > 0 {
		fmt.Fprintln(w)
		t := newTable(w, "WAVE", "GATES", "FIGURES")
		for _, r := range u.Gates {
			t.row(fmt.Sprint(r.Wave), string(r.Result), r.Message)
		}
		return t.Flush()
	}
	return nil
}
