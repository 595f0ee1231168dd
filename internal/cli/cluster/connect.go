// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"tulle.dev/tulle/internal/pages"
)

// Flags say which cluster, as kubectl's flags of the same names do. Zero values mean kubectl's defaults.
type Flags struct {
	Kubeconfig, Context, Namespace string
	// SystemNamespace is where the operator and the control plane run. If empty, it is found; see Cluster.System.
	SystemNamespace string
}

// Cluster is a connection. Safe for concurrent use.
type Cluster struct {
	// Namespace is that of the flags or of the kubeconfig's context.
	Namespace string

	// system, and others that have an operator, are read and written by System alone.
	find    sync.Once
	system  string
	others  []string
	config  *rest.Config
	typed   kubernetes.Interface
	dynamic dynamic.Interface

	// debug is what is needed to ask control planes; see Ask.
	debug access
}

// requestTimeout bounds each request to the API server.
const requestTimeout = 15 * time.Second

// Connect reads the kubeconfig. It sends nothing yet.
func Connect(f Flags) (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.Kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: f.Context}
	overrides.Context.Namespace = f.Namespace
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return New(config, namespace, f.SystemNamespace)
}

// New is Connect for callers that have a configuration already. If system is empty, it is found.
func New(config *rest.Config, namespace, system string) (*Cluster, error) {
	config = rest.CopyConfig(config)
	config.UserAgent = "tulle"
	config.QPS, config.Burst = 50, 100
	config.Timeout = requestTimeout
	config.ContentType = "application/json" // a person may want to read along with -v or a proxy
	config.WarningHandler = rest.NoWarnings{}
	paged := rest.CopyConfig(config)
	paged.Wrap(pages.Transport)
	typed, err := kubernetes.NewForConfig(paged)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	dyn, err := dynamic.NewForConfig(paged)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return &Cluster{Namespace: namespace, system: system, config: config, typed: typed, dynamic: dyn}, nil
}
