// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"tulle.dev/tulle/controllers"
	"tulle.dev/tulle/internal/names"
)

type operatorOptions struct {
	controllers.Options
	leaderElect bool
	metrics     string
	probes      string
	releases    string
}

// operatorCommand is the role of the Deployment in config/manager.
func operatorCommand() *cobra.Command {
	var o operatorOptions
	c := &cobra.Command{
		Use:   "operator",
		Short: "Turn a Mesh into certificates, a control plane, a webhook and gateways",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Releases, err = readReleases(o.releases); err != nil {
				return err
			}
			config, err := ctrl.GetConfig()
			if err != nil {
				return err
			}
			// A new Gateway takes some ten requests: of the default of 20 a second, ten of them take seconds.
			config.QPS, config.Burst = 50, 100
			return runOperator(cmd.Context(), config, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Namespace, "namespace", envOr("TULLE_NAMESPACE", names.SystemNamespace), "the operator's own namespace, where control planes go (TULLE_NAMESPACE)")
	f.StringVar(&o.Image, "image", os.Getenv("TULLE_IMAGE"), "image of this program, for control planes (TULLE_IMAGE)")
	f.StringVar(&o.ProxyImage, "proxy-image", os.Getenv("TULLE_PROXY_IMAGE"), "image of the proxy (TULLE_PROXY_IMAGE)")
	f.StringVar(&o.InternalToken, "internal-token", filepath.Join(names.InternalTokenDir, names.InternalToken), "file with a token for the audience "+names.InternalAudience+", by which control planes know the operator")
	f.StringVar(&o.releases, "releases", defaultReleases, "YAML list of {version, image, proxyImage, envoy}: releases beside those known by themselves, or where their images are")
	f.BoolVar(&o.leaderElect, "leader-elect", true, "let only one of several replicas work")
	f.StringVar(&o.metrics, "metrics-bind-address", ":8080", "where to serve metrics; 0: nowhere")
	f.StringVar(&o.probes, "health-probe-bind-address", ":8081", "where to answer the kubelet")
	return c
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func runOperator(ctx context.Context, config *rest.Config, o operatorOptions) error {
	if o.Image == "" || o.ProxyImage == "" {
		return fmt.Errorf("say which images to deploy: --image and --proxy-image, or TULLE_IMAGE and TULLE_PROXY_IMAGE")
	}
	if _, err := os.Stat(o.InternalToken); err != nil {
		ctrl.Log.Error(err, "There is no token for control planes, so they cannot be asked: apply all of the operator's manifests, not only its image")
	}
	lease, renew, retry := 15*time.Second, 10*time.Second, 2*time.Second
	mgr, err := controllers.NewManager(config, o.Namespace, ctrl.Options{
		Metrics:                       metricsserver.Options{BindAddress: "0"}, // served below
		HealthProbeBindAddress:        "0",
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              names.Operator,
		LeaderElectionNamespace:       o.Namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &lease,
		RenewDeadline:                 &renew,
		RetryPeriod:                   &retry,
	})
	if err != nil {
		return err
	}
	if err := serve(ctx, mgr, "metrics", o.metrics, metricsHandler(metrics.Registry)); err != nil {
		return err
	}
	if err := serve(ctx, mgr, "health", o.probes, healthHandler()); err != nil {
		return err
	}
	o.Registry = metrics.Registry
	if err := controllers.Setup(mgr, o.Options); err != nil {
		return err
	}
	return mgr.Start(ctx)
}
