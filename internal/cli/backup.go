// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"tulle.dev/tulle/internal/cli/backup"
	"tulle.dev/tulle/internal/cli/cluster"
)

func newBackup(g *global) *cobra.Command {
	var file string
	var withoutKeys bool
	cmd := &cobra.Command{
		Use:   "backup [-o FILE]",
		Short: "Write down what gives the mesh its identity: the Mesh, its root and its keys",
		Long: `Write down what gives the mesh its identity, for tulle restore: the Mesh, its
self-made roots and its intermediate with their keys, the roots that proxies trust, and
the list of releases if there is one.

The file holds private keys, and whoever has it can speak for every workload of the
mesh; it is written for you alone (mode 0600). --without-keys leaves them out: then a
restored mesh has a new root, unless the root is one of your own issuer.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := cluster.Connect(g.cluster)
			if err != nil {
				return err
			}
			seen, err := c.BackupSeen(cmd.Context(), !withoutKeys)
			if err != nil {
				return err
			}
			f, err := backup.Make(seen, !withoutKeys, Version, time.Now())
			if err != nil {
				return err
			}
			if file == "" || file == "-" {
				err = f.Write(g.streams.documents)
			} else {
				err = save(f, file)
			}
			if err != nil {
				return err
			}
			told(g, f, file)
			return nil
		},
	}
	// Of the same name as the global flag, which it takes the place of: there is nothing to print.
	cmd.Flags().StringVarP(&file, "output", "o", "", "file to write; default standard output")
	cmd.Flags().BoolVar(&withoutKeys, "without-keys", false, "leave private keys out")
	_ = cmd.MarkFlagFilename("output", "yaml")
	return cmd
}

// save writes a file that nobody else ever could read, and that is whole or not there.
func save(f backup.File, path string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	defer os.Remove(tmp.Name())
	if err := f.Write(tmp); err != nil {
		_ = tmp.Close()
		return fmt.Errorf("write backup: %w", err)
	}
	if err := tmp.Sync(); err != nil {
		_ = tmp.Close()
		return fmt.Errorf("write backup: %w", err)
	}
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	return nil
}

// told says what was written, next to it and not in it.
func told(g *global, f backup.File, file string) {
	w := g.streams.Err
	if file != "" && file != "-" {
		printf(w, "Mesh %s, trust domain %s, is written to %s.\n", f.Mesh, f.TrustDomain, file)
	}
	if f.Keys {
		fmt.Fprintln(w, "It holds private keys: whoever has it can speak for every workload of the mesh. Keep it as you keep keys.")
	} else {
		fmt.Fprintln(w, "It holds no private keys: it can't bring back a root that Tulle made.")
	}
}
