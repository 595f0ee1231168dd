// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/internal/cli/cluster"
	"tulle.dev/tulle/internal/lifecycle/release"
)

// Version is the release of the command line.
const Version = release.Current

func newVersion(g *global) *cobra.Command {
	clientOnly := false
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the version of the command line and of the mesh",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			answer := struct {
				Client string            `json:"client"`
				Commit string            `json:"commit,omitempty"`
				Meshes map[string]string `json:"meshes,omitempty"` // by name: the version that serves
			}{Client: Version, Commit: commit(), Meshes: map[string]string{}}
			if !clientOnly {
				c, err := cluster.Connect(g.cluster)
				if err != nil {
					return fmt.Errorf("%w (--client needs no cluster)", err)
				}
				meshes, err := c.Meshes(cmd.Context())
				if err != nil && !cluster.IsNotFound(err) {
					return fmt.Errorf("list Meshes: %w", err)
				}
				for _, m := range meshes {
					answer.Meshes[m.Name] = m.Status.Version
				}
			}
			if g.output == outputJSON {
				return printJSON(g.streams.Out, answer)
			}
			printf(g.streams.Out, "tulle %s %s\n", answer.Client, answer.Commit)
			for name, version := range answer.Meshes {
				printf(g.streams.Out, "mesh %s %s\n", name, orDash(version))
			}
			if !clientOnly && len(answer.Meshes) == 0 {
				fmt.Fprintln(g.streams.Out, "no Mesh in this cluster")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&clientOnly, "client", false, "only the version of the command line")
	return cmd
}

// commit is what the Go toolchain recorded when it built the program; empty when it recorded nothing.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	return ""
}
