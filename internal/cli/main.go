// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/internal/cli/cluster"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/printable"
)

// Exit codes.
const (
	exitOK    = 0
	exitFound = 1
	exitError = 2
)

// errFound says that the command worked and found something; it has been printed.
var errFound = errors.New("something was found")

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer

	documents io.Writer // see documents; set by Main
}

// Main runs the command line and returns its exit code. What it writes to Out and Err controls no terminal, whatever
// the cluster reports.
func Main(ctx context.Context, args []string, s Streams) int {
	out, errs := printable.NewWriter(s.Out), printable.NewWriter(s.Err)
	s = Streams{In: s.In, Out: out, Err: errs, documents: documents(s.Out, out)}
	code := run(ctx, args, s)
	if err := out.Flush(); err != nil {
		fmt.Fprintln(errs, "tulle: write:", err)
		code = exitError
	}
	_ = errs.Flush() // there is no other place to report it
	return code
}

func run(ctx context.Context, args []string, s Streams) int {
	root := newRoot(s)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFound):
		return exitFound
	}
	fmt.Fprintln(s.Err, "tulle:", strings.ReplaceAll(err.Error(), "\n", "\n  ")) // a further line looks like no message of its own
	return exitError
}

// global are the flags that every command has.
type global struct {
	cluster cluster.Flags
	output  string
	streams Streams
}

func newRoot(s Streams) *cobra.Command {
	g := &global{streams: s}
	root := &cobra.Command{
		Use:           "tulle",
		Short:         "Look at a Tulle service mesh, upgrade it, keep it and remove it",
		Long:          "Look at a Tulle service mesh, upgrade it, keep it and remove it.\n\nExit codes: 0 all is well, 1 something was found, 2 the command could not do its work.",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if g.output != outputTable && g.output != outputJSON {
				return fmt.Errorf("-o %q is not one of %s, %s", g.output, outputTable, outputJSON)
			}
			return nil
		},
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	flags := root.PersistentFlags()
	flags.StringVar(&g.cluster.Kubeconfig, "kubeconfig", "", "path of the kubeconfig; default as kubectl")
	flags.StringVar(&g.cluster.Context, "context", "", "context of the kubeconfig; default its current one")
	flags.StringVarP(&g.cluster.Namespace, "namespace", "n", "", "namespace; default the context's")
	flags.StringVar(&g.cluster.SystemNamespace, "system-namespace", "", "namespace of the operator and the control plane; default the one where the operator is found, else "+names.SystemNamespace)
	flags.StringVarP(&g.output, "output", "o", outputTable, "table or json")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{outputTable, outputJSON}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(newCheck(g), newStatus(g), newProxy(g), newInject(g), newUpgrade(g), newCA(g), newBackup(g), newRestore(g), newUninstall(g), newVersion(g))
	return root
}
