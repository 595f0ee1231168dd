// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/internal/cli/check"
	"tulle.dev/tulle/internal/cli/cluster"
)

func newCheck(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Say whether the cluster is fit for Tulle and, once installed, whether everything works",
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
			findings := check.All(f)
			if g.output == outputJSON {
				err = printJSON(g.streams.Out, findings)
			} else {
				printFindings(g.streams.Out, findings)
			}
			if err == nil && check.Worst(findings) == check.Problem {
				return errFound
			}
			return err
		},
	}
}

// printFindings writes them section by section, each with its fix on the next line.
func printFindings(w io.Writer, findings []check.Finding) {
	section := ""
	for _, f := range findings {
		if f.Section != section {
			if section != "" {
				fmt.Fprintln(w)
			}
			section = f.Section
			fmt.Fprintln(w, section)
		}
		printf(w, "  [%s] %s\n", f.Level, f.Message)
		if f.Fix != "" {
			printf(w, "      -> %s\n", f.Fix)
		}
	}
	counts := map[check.Level]int{}
	for _, f := range findings {
		counts[f.Level]++
	}
	printf(w, "\n%d ok, %d warnings, %d problems", counts[check.OK], counts[check.Warning], counts[check.Problem])
	if n := counts[check.Notice]; n > 0 {
		printf(w, ", %d notices", n)
	}
	if n := counts[check.Unknown]; n > 0 {
		printf(w, ", %d could not be read", n)
	}
	fmt.Fprintln(w)
}
