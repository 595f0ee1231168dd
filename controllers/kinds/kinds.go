// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package kinds

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tulle.dev/tulle/internal/gatewaykinds"
)

// Kind is a kind that may or may not be installed.
type Kind struct {
	schema.GroupVersionKind
	// Plural is the first part of its CustomResourceDefinition's name.
	Plural string
}

func kind(group, version, name, plural string) Kind {
	return Kind{GroupVersionKind: schema.GroupVersionKind{Group: group, Version: version, Kind: name}, Plural: plural}
}

// CertManager are the kinds of cert-manager that the operator needs.
func CertManager() []Kind {
	return []Kind{
		kind("cert-manager.io", "v1", "Certificate", "certificates"),
		kind("cert-manager.io", "v1", "Issuer", "issuers"),
		kind("cert-manager.io", "v1", "ClusterIssuer", "clusterissuers"),
	}
}

// GatewayAPI are the kinds of the Gateway API without which a mesh is of little use.
func GatewayAPI() []Kind {
	out := []Kind{
		kind("gateway.networking.k8s.io", "v1", "GatewayClass", "gatewayclasses"),
		kind("gateway.networking.k8s.io", "v1", "Gateway", "gateways"),
	}
	for _, k := range gatewaykinds.All() {
		if k.Required {
			out = append(out, kind(k.Group, k.Version, k.Name, k.Plural))
		}
	}
	return out
}

// ListenerSet is in Gateway API v1.5 and later.
func ListenerSet() []Kind {
	return []Kind{kind("gateway.networking.k8s.io", "v1", "ListenerSet", "listenersets")}
}

// BackendTLSPolicy is in Gateway API v1.4 and later.
func BackendTLSPolicy() []Kind {
	return []Kind{kind("gateway.networking.k8s.io", "v1", "BackendTLSPolicy", "backendtlspolicies")}
}

// XMesh is in the experimental channel of the Gateway API only.
func XMesh() []Kind {
	return []Kind{kind("gateway.networking.x-k8s.io", "v1alpha1", "XMesh", "xmeshes")}
}

// Definition is the metadata of CustomResourceDefinitions, to be watched and read from a cache.
func Definition() *metav1.PartialObjectMetadata {
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	return o
}

// Metadata is an empty object of a kind, to be watched and read as metadata alone.
func Metadata(gvk schema.GroupVersionKind) *metav1.PartialObjectMetadata {
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(gvk)
	return o
}

// Catalog tells which kinds are installed. Safe for concurrent use.
type Catalog struct {
	definitions client.Reader
	mapper      meta.RESTMapper
}

// NewCatalog reads CustomResourceDefinitions' metadata from a cache and asks the mapper whether they are served.
func NewCatalog(definitions client.Reader, mapper meta.RESTMapper) *Catalog {
	return &Catalog{definitions: definitions, mapper: mapper}
}

// Installed tells whether all of the kinds are there and served.
func (c *Catalog) Installed(ctx context.Context, list []Kind) (bool, error) {
	for _, k := range list {
		crd := Definition()
		err := c.definitions.Get(ctx, client.ObjectKey{Name: k.Plural + "." + k.Group}, crd)
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("get CustomResourceDefinition %s.%s: %w", k.Plural, k.Group, err)
		}
		if !crd.DeletionTimestamp.IsZero() {
			return false, nil
		}
		// The mapper remembers kinds that have gone, so it is asked second.
		if _, err := c.mapper.RESTMapping(k.GroupKind(), k.Version); err != nil {
			if meta.IsNoMatchError(err) {
				return false, nil
			}
			return false, fmt.Errorf("find kind %s: %w", k.Kind, err)
		}
	}
	return true, nil
}

// Served asks the API server whether a kind is there and served in a version. definition is the name of
// its CustomResourceDefinition.
func Served(ctx context.Context, live client.Reader, definition, version string) (bool, error) {
	crd := &unstructured.Unstructured{}
	crd.SetGroupVersionKind(Definition().GroupVersionKind())
	if err := live.Get(ctx, client.ObjectKey{Name: definition}, crd); err != nil {
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return false, fmt.Errorf("get CustomResourceDefinition %s: %w", definition, err)
	}
	versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
	return err == nil && crd.GetDeletionTimestamp() == nil && slices.ContainsFunc(versions, func(v any) bool {
		m, ok := v.(map[string]any)
		return ok && m["name"] == version && m["served"] == true
	}), nil
}

// Gate starts what needs certain kinds once these are installed. Fill it with When, then Setup.
type Gate struct {
	catalog *Catalog

	mu      sync.Mutex
	waiting []waiting // guarded by mu
}

type waiting struct {
	kinds []Kind
	start func() error
}

// NewGate makes an empty gate.
func NewGate(c *Catalog) *Gate { return &Gate{catalog: c} }

// When has start called once, as soon as all the kinds are installed. A start that fails is tried again.
func (g *Gate) When(kinds []Kind, start func() error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, waiting{kinds, start})
}

// Setup has the manager run the gate.
func (g *Gate) Setup(mgr ctrl.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).Named("kinds").For(Definition(), builder.OnlyMetadata).Complete(g)
	if err != nil {
		return fmt.Errorf("set up controller kinds: %w", err)
	}
	return nil
}

// retry is how soon to look again at a kind that is defined but not served yet.
const retry = time.Second

// Reconcile starts whatever can be.
func (g *Gate) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var still []waiting
	again := false
	for i, w := range g.waiting {
		there, err := g.catalog.Installed(ctx, w.kinds)
		if err == nil && there {
			err = w.start()
		}
		if err != nil {
			g.waiting = append(still, g.waiting[i:]...)
			return reconcile.Result{}, err
		}
		if !there {
			still = append(still, w)
			again = again || g.defined(ctx, w.kinds)
		}
	}
	g.waiting = still
	if again {
		return reconcile.Result{RequeueAfter: retry}, nil
	}
	return reconcile.Result{}, nil
}

// defined tells whether all the kinds have definitions, served or not.
func (g *Gate) defined(ctx context.Context, list []Kind) bool {
	for _, k := range list {
		if g.catalog.definitions.Get(ctx, client.ObjectKey{Name: k.Plural + "." + k.Group}, Definition()) != nil {
			return false
		}
	}
	return true
}
