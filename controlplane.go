// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"flag"
	"os"

	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"

	"tulle.dev/tulle/internal/controlplane"
)

// controlplaneCommand is the role of the pods that the operator makes for each revision.
func controlplaneCommand() *cobra.Command {
	opts := controlplane.OptionsFrom(os.Getenv)
	c := &cobra.Command{
		Use:   "controlplane",
		Short: "Translate the cluster for the proxies, sign their certificates, inject pods",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := ctrl.GetConfig()
			if err != nil {
				return err
			}
			config.QPS, config.Burst = 100, 200
			opts.Config, opts.Log = config, ctrl.Log.WithName("controlplane")
			return controlplane.Run(cmd.Context(), opts)
		},
	}
	flags := flag.NewFlagSet("controlplane", flag.ContinueOnError)
	opts.AddFlags(flags)
	c.Flags().AddGoFlagSet(flags)
	for _, required := range []string{"mesh", "version", "revision", "proxy-image"} {
		if err := c.MarkFlagRequired(required); err != nil {
			panic(err) // a typo above
		}
	}
	return c
}
