// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/cluster"
	"tulle.dev/tulle/internal/lifecycle/release"
)

// change is what to do to the spec of a Mesh; an empty spec: nothing.
type change struct {
	spec map[string]any
	// says is what has been done, or why nothing is.
	says string
}

// apply reads the Mesh, decides and writes it.
func apply(ctx context.Context, g *global, decide func(v1alpha1.Mesh) (change, error)) error {
	c, err := cluster.Connect(g.cluster)
	if err != nil {
		return err
	}
	m, err := c.ActiveMesh(ctx)
	if err != nil {
		return err
	}
	ch, err := decide(m)
	if err != nil {
		return err
	}
	if len(ch.spec) > 0 {
		if err := c.ChangeMesh(ctx, m, ch.spec); err != nil {
			return err
		}
	}
	if g.output == outputJSON {
		return printJSON(g.streams.Out, struct {
			Mesh    string         `json:"mesh"`
			Changed map[string]any `json:"changed"`
			Message string         `json:"message"`
		}{m.Name, ch.spec, ch.says})
	}
	printf(g.streams.Out, "%s\n", ch.says)
	return nil
}

func newUpgradeTo(g *global) *cobra.Command {
	force := false
	cmd := &cobra.Command{
		Use:   "to VERSION",
		Short: "Have the mesh run another release",
		Long: `Have the mesh run another release, newer or older: sets spec.version of the Mesh.

A release that this command does not know, or to which there is no direct way, is
refused. With --force the former is left to the operator, which may know more.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeReleases,
		RunE: func(cmd *cobra.Command, args []string) error {
			return apply(cmd.Context(), g, func(m v1alpha1.Mesh) (change, error) {
				return upgradeTo(m, args[0], release.Known("", ""), force)
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also to a release that this command does not know")
	return cmd
}

func completeReleases(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var versions []string
	if len(args) == 0 {
		for _, r := range release.Known("", "") {
			versions = append(versions, r.Version)
		}
	}
	return versions, cobra.ShellCompDirectiveNoFileComp
}

func upgradeTo(m v1alpha1.Mesh, version string, known release.Catalog, force bool) (change, error) {
	if m.Spec.Version == version {
		return change{says: fmt.Sprintf("Mesh %s is to run %s already.", m.Name, version)}, nil
	}
	if _, ok := known.Find(version); !ok && !force {
		return change{}, fmt.Errorf("release %s is not known to this command, which knows %s; if the operator knows it, add --force", version, known.Versions())
	}
	if serving := m.Status.Version; serving != "" && serving != version {
		if err := known.Allowed(serving, version); err != nil {
			return change{}, err
		}
	}
	says := fmt.Sprintf("Mesh %s is to run %s now, instead of %s. tulle upgrade status --watch shows how it goes.", m.Name, version, m.Spec.Version)
	if m.Spec.Upgrade.Paused {
		says += " Upgrades are paused: tulle upgrade resume goes on."
	}
	return change{spec: map[string]any{"version": version}, says: says}, nil
}

func newUpgradePause(g *global, paused bool) *cobra.Command {
	use, short := "resume", "Go on with a paused upgrade"
	if paused {
		use, short = "pause", "Stop an upgrade where it is; proxies that are being replaced are still finished"
	}
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return apply(cmd.Context(), g, func(m v1alpha1.Mesh) (change, error) { return setPaused(m, paused), nil })
		},
	}
}

func setPaused(m v1alpha1.Mesh, paused bool) change {
	state := "not paused"
	if paused {
		state = "paused"
	}
	if m.Spec.Upgrade.Paused == paused {
		return change{says: fmt.Sprintf("Upgrades of Mesh %s are %s already.", m.Name, state)}
	}
	ch := change{spec: map[string]any{"upgrade": map[string]any{"paused": paused}}, says: fmt.Sprintf("Upgrades of Mesh %s are %s now.", m.Name, state)}
	if viewOf(m).ended() {
		ch.says += " None is under way."
	}
	return ch
}

func newUpgradeRollback(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "rollback",
		Short: "Go back to the release before",
		Long: `Go back to the release before the latest upgrade, whether that has ended or not:
sets spec.version of the Mesh to status.upgrade.from. Proxies are replaced in the same
way, wave by wave.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return apply(cmd.Context(), g, rollback)
		},
	}
}

func rollback(m v1alpha1.Mesh) (change, error) {
	u := m.Status.Upgrade
	switch {
	case u == nil || u.From == "":
		return change{}, fmt.Errorf("there is nothing to roll back: the release of Mesh %s was never changed", m.Name)
	case m.Spec.Version == u.From:
		return change{}, fmt.Errorf("there is nothing to roll back: Mesh %s is to run %s already, the release from before; the upgrade to %s is in phase %s", m.Name, u.From, u.To, u.Phase)
	case m.Spec.Version != u.To:
		return change{}, fmt.Errorf("spec.version of Mesh %s is %s, with which the operator has not begun: write the release that you want with tulle upgrade to", m.Name, m.Spec.Version)
	}
	says := fmt.Sprintf("Mesh %s goes back from %s to %s. tulle upgrade status --watch shows how it goes.", m.Name, u.To, u.From)
	if u.Phase == v1alpha1.PhaseRolledBack {
		says = fmt.Sprintf("Mesh %s had gone back from %s to %s by itself; its spec says so now.", m.Name, u.To, u.From)
	}
	if m.Spec.Upgrade.Paused {
		says += " Upgrades are paused: tulle upgrade resume goes on."
	}
	return change{spec: map[string]any{"version": u.From}, says: says}, nil
}
