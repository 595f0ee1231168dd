// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"

	"tulle.dev/tulle/internal/controlplane"
	"tulle.dev/tulle/internal/names"
)

// controlplaneCommand is the role of the pods that the operator makes for each revision.
func controlplaneCommand() *cobra.Command {
	opts := controlplane.Options{
		Pod: os.Getenv(names.EnvControlPlanePod), PodIP: os.Getenv(names.EnvControlPlaneIP),
		IntermediateDir: names.IntermediateDir, TrustDir: names.TrustDir,
		InternalToken: filepath.Join(names.InternalTokenDir, names.InternalToken),
	}
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
	f := c.Flags()
	f.StringVar(&opts.Mesh, "mesh", "", "name of the Mesh to work for")
	f.StringVar(&opts.Version, "version", "", "release of this control plane")
	f.StringVar(&opts.Revision, "revision", "", "the release as it appears in names")
	f.StringVar(&opts.ProxyImage, "proxy-image", "", "image that injection puts into pods")
	f.StringVar(&opts.SystemNamespace, "system-namespace", names.SystemNamespace, "namespace of the control plane")
	for _, required := range []string{"mesh", "version", "revision", "proxy-image"} {
		if err := c.MarkFlagRequired(required); err != nil {
			panic(err) // a typo above
		}
	}
	return c
}
