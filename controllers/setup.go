// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controllers

import (
	"context"
	"fmt"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwapixv1 "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/controllers/gateway"
	"tulle.dev/tulle/controllers/gatewayclass"
	"tulle.dev/tulle/controllers/kinds"
	"tulle.dev/tulle/controllers/mesh"
	"tulle.dev/tulle/controllers/trust"
	"tulle.dev/tulle/internal/lifecycle/apply"
	"tulle.dev/tulle/internal/lifecycle/gate"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/rotation"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/pages"
)

// Options of the operator.
type Options struct {
	// Namespace is the operator's own, where control planes go.
	Namespace string
	// Image and ProxyImage are the images of the current release, see release.Known.
	Image, ProxyImage string
	// Releases are those that an administrator adds or has elsewhere, see release.Catalog.With.
	Releases []release.Entry
	// Trust asks replicas of control planes who trusts what; nil: the real ones (mesh.Debug).
	Trust func(ctx context.Context, replicas []corev1.Pod) []rotation.Replica
	// ControlPlanes asks replicas of control planes what they know; nil: the real ones (mesh.Debug).
	ControlPlanes mesh.ControlPlanes
	// InternalToken is the file with the operator's token for control planes.
	InternalToken string
	// Registry is where the operator's metrics go; nil: nowhere.
	Registry prometheus.Registerer
	// Now is the clock; nil: the real one.
	Now func() time.Time
}

// Scheme knows every kind that the operator reads or writes.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, v1alpha1.AddToScheme, cmv1.AddToScheme, gwapiv1.Install, gwapixv1.Install,
	} {
		if err := add(s); err != nil {
			return nil, fmt.Errorf("make scheme: %w", err)
		}
	}
	return s, nil
}

// NewManager returns a manager for Setup, whose requests for lists can be bounded (package pages). namespace is the
// operator's own. The scheme and the cache of the options are set here.
func NewManager(config *rest.Config, namespace string, o ctrl.Options) (ctrl.Manager, error) {
	var err error
	if o.Scheme, err = Scheme(); err != nil {
		return nil, err
	}
	o.Cache = cacheOptions(namespace)
	config = rest.CopyConfig(config)
	config.Wrap(pages.Transport)
	mgr, err := ctrl.NewManager(config, o)
	if err != nil {
		return nil, fmt.Errorf("make manager: %w", err)
	}
	return mgr, nil
}

// cacheOptions limits what the operator holds in memory, and may list: of built-in kinds what it made
// itself, of pods those that carry a proxy and have not ended, of Secrets and ConfigMaps one name.
// It works with metadata nearly everywhere.
func cacheOptions(namespace string) cache.Options {
	made := labels.SelectorFromSet(labels.Set{names.LabelManagedBy: names.Operator})
	here := map[string]cache.Config{namespace: {}}
	named := func(name string) fields.Selector { return fields.OneTermEqualSelector("metadata.name", name) }
	return small(cache.Options{
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}:    {Namespaces: here, Field: named(names.IntermediateSecret)},
			&corev1.ConfigMap{}: {Field: named(names.TrustConfigMap)},
			&corev1.Pod{}: {
				Label: labels.NewSelector().Add(exists(names.LabelProxy)),
				Field: fields.AndSelectors(
					fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
					fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
				),
			},
			&corev1.ServiceAccount{}:                 {Label: made},
			&corev1.Service{}:                        {Label: made},
			&appsv1.Deployment{}:                     {Label: made},
			&appsv1.DaemonSet{}:                      {Label: made, Namespaces: here},
			&policyv1.PodDisruptionBudget{}:          {Label: made},
			&autoscalingv2.HorizontalPodAutoscaler{}: {Label: made},
			&rbacv1.Role{}:                           {Label: made, Namespaces: here},
			&rbacv1.RoleBinding{}:                    {Label: made, Namespaces: here},
			&rbacv1.ClusterRole{}:                    {Label: made},
			&rbacv1.ClusterRoleBinding{}:             {Label: made},
		},
	})
}

func exists(label string) labels.Requirement {
	r, err := labels.NewRequirement(label, "exists", nil)
	if err != nil {
		// The label is a constant.
		panic("controllers: " + err.Error())
	}
	return *r
}

// Setup has the manager run all controllers. The manager must have been made with NewManager.
func Setup(mgr ctrl.Manager, o Options) error {
	if o.Now == nil {
		o.Now = time.Now
	}
	here, err := cache.New(mgr.GetConfig(), small(cache.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		DefaultNamespaces: map[string]cache.Config{o.Namespace: {}},
	}))
	if err != nil {
		return fmt.Errorf("make cache of namespace %s: %w", o.Namespace, err)
	}
	if err := mgr.Add(here); err != nil {
		return fmt.Errorf("add cache of namespace %s: %w", o.Namespace, err)
	}
	known, err := release.Known(o.Image, o.ProxyImage).With(o.Releases)
	if err != nil {
		return fmt.Errorf("read releases: %w", err)
	}
	catalog := kinds.NewCatalog(mgr.GetCache(), mgr.GetRESTMapper())
	waiting := kinds.NewGate(catalog)
	seen := reader{Reader: mgr.GetCache(), here: here}
	core, err := corev1client.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("make client of pods: %w", err)
	}
	live := mgr.GetAPIReader()
	applier := apply.New(mgr.GetClient(), core.RESTClient(), seen, live)

	version, err := serverVersion(mgr)
	if err != nil {
		return err
	}
	debug := mesh.NewDebug(live, o.Namespace, o.InternalToken)
	if o.Trust == nil {
		o.Trust = debug.Trust
	}
	if o.ControlPlanes == nil {
		o.ControlPlanes = debug
	}
	unwritten := trust.NewUnwritten()
	meshes := &mesh.Reconciler{
		Namespace: o.Namespace, Known: known, Kinds: catalog, Apply: applier,
		Client: mgr.GetClient(), Live: live, Cache: seen, Here: here,
		ControlPlanes: o.ControlPlanes, Trust: o.Trust, Version: version, External: gate.NewExternal(),
		Unwritten: unwritten, Now: o.Now,
	}
	if o.Registry != nil {
		if meshes.Metrics, err = mesh.NewMetrics(o.Registry); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	if err := meshes.Setup(mgr, waiting); err != nil {
		return err
	}
	spread := &trust.Reconciler{Namespace: o.Namespace, Apply: applier, Live: live, Cache: mgr.GetCache(), Unwritten: unwritten}
	if err := spread.Setup(mgr); err != nil {
		return err
	}
	gateways := &gateway.Reconciler{
		Namespace: o.Namespace, Known: known, Apply: applier,
		Client: mgr.GetClient(), Live: live, Cache: mgr.GetCache(), Now: o.Now,
	}
	if err := gateways.Setup(mgr, waiting); err != nil {
		return err
	}
	classes := &gatewayclass.Reconciler{Known: known, Kinds: catalog, Client: mgr.GetClient(), Cache: mgr.GetCache()}
	if err := classes.Setup(mgr, waiting); err != nil {
		return err
	}
	return waiting.Setup(mgr)
}

// serverVersion makes a function that asks the API server for its version.
func serverVersion(mgr ctrl.Manager) (func() (string, error), error) {
	d, err := discovery.NewDiscoveryClientForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("make a client for discovery: %w", err)
	}
	return func() (string, error) {
		v, err := d.ServerVersion()
		if err != nil {
			return "", fmt.Errorf("ask for the API server's version: %w", err)
		}
		return v.GitVersion, nil
	}, nil
}
