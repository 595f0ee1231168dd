// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwapiv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/gatewaykinds"
)

// feed is how one kind is watched.
type feed struct {
	kind   Kind
	object client.Object
	list   func() client.ObjectList
	// crd and version are set where the kind may be missing: the name of its CRD and the version watched.
	crd, version string
	// refusable: the right to read the kind may be withheld, or not be given yet; all else goes on.
	refusable bool
	// convert makes what Event.Object holds; nil leaves the object out.
	convert func(client.Object) any
	// identity, if set, returns all that has to be kept of an object to tell whether it has changed, so that the
	// object itself is not kept here. If nil, what convert returns is kept and compared.
	identity func(any) any
}

// spec is the identity of an object of which nothing but the spec matters.
type spec struct {
	uid        types.UID
	generation int64
}

// renewal keeps of the certificates' status what proxies are asked.
func renewal(s *v1alpha1.CertificatesStatus) *v1alpha1.CertificatesStatus {
	if s == nil || s.RenewIssuedBefore == nil {
		return nil
	}
	return &v1alpha1.CertificatesStatus{RenewIssuedBefore: s.RenewIssuedBefore}
}

// feeds are in the order in which the first batch holds the kinds.
func feeds() []feed {
	out := []feed{
		{
			kind: Mesh, object: &v1alpha1.Mesh{}, list: func() client.ObjectList { return &v1alpha1.MeshList{} },
			crd: "meshes.tulle.dev", version: "v1alpha1", convert: keep(func(m *v1alpha1.Mesh) { m.Status = v1alpha1.MeshStatus{Certificates: renewal(m.Status.Certificates)} }),
		},
		{
			kind: Namespace, object: &corev1.Namespace{}, list: func() client.ObjectList { return &corev1.NamespaceList{} },
			convert: as(func(n *corev1.Namespace) any { return NamespaceFrom(n, Selection{}) }),
		},
		{
			kind: Service, object: &corev1.Service{}, list: func() client.ObjectList { return &corev1.ServiceList{} },
			convert: as(func(s *corev1.Service) any { return ServiceFrom(s) }),
		},
		{
			kind: EndpointSlice, object: &discoveryv1.EndpointSlice{}, list: func() client.ObjectList { return &discoveryv1.EndpointSliceList{} },
			convert: as(slice),
		},
		{
			kind: Pod, object: &corev1.Pod{}, list: func() client.ObjectList { return &corev1.PodList{} },
			convert: as(func(p *corev1.Pod) any { return WorkloadFrom(p) }),
		},
		{
			kind: GatewayClass, object: &gwapiv1.GatewayClass{}, list: func() client.ObjectList { return &gwapiv1.GatewayClassList{} },
			crd: gatewayCRD("gatewayclasses"), version: "v1", convert: keep(func(c *gwapiv1.GatewayClass) { c.Status = gwapiv1.GatewayClassStatus{} }),
		},
		{
			kind: Gateway, object: &gwapiv1.Gateway{}, list: func() client.ObjectList { return &gwapiv1.GatewayList{} },
			crd: gatewayCRD("gateways"), version: "v1", convert: keep(func(g *gwapiv1.Gateway) { g.Status = gwapiv1.GatewayStatus{} }),
		},
		{
			kind: ListenerSet, object: &gwapiv1.ListenerSet{}, list: func() client.ObjectList { return &gwapiv1.ListenerSetList{} },
			crd: gatewayCRD("listenersets"), version: "v1", convert: keep(func(s *gwapiv1.ListenerSet) { s.Status = gwapiv1.ListenerSetStatus{} }),
		},
	}
	out = append(out, ofKinds(gatewaykinds.Routes())...)
	out = append(out, feed{
		// v1beta1 is the stored version and the one that older releases serve as well; the types are the same.
		kind: ReferenceGrant, object: &gwapiv1beta1.ReferenceGrant{}, list: func() client.ObjectList { return &gwapiv1beta1.ReferenceGrantList{} },
		crd: gatewayCRD("referencegrants"), version: "v1beta1", convert: as(grant),
	})
	out = append(out, ofKinds(gatewaykinds.Policies())...)
	return append(out, feed{
		// Only the zone is read, so only the metadata: nodes are large objects. Without the right to read
		// them no client has a zone, and hints for zones are not followed.
		kind: Node, object: nodeMetadata(), list: func() client.ObjectList {
			l := &metav1.PartialObjectMetadataList{}
			l.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NodeList"))
			return l
		},
		refusable: true, convert: as(func(n *metav1.PartialObjectMetadata) any { return NodeFrom(n) }),
	})
}

// ofKinds are the feeds of kinds of routes or policies.
func ofKinds(kinds []gatewaykinds.Kind) []feed {
	var out []feed
	for _, k := range kinds {
		out = append(out, feed{
			kind: Kind(k.Name), object: k.New(), list: func() client.ObjectList { return k.NewList() },
			crd: k.Definition(), version: k.Version, convert: keep(func(o client.Object) { k.ClearStatus(o) }),
			identity: func(o any) any { return spec{o.(client.Object).GetUID(), o.(client.Object).GetGeneration()} },
		})
	}
	return out
}

func nodeMetadata() client.Object {
	n := &metav1.PartialObjectMetadata{}
	n.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Node"))
	return n
}

func gatewayCRD(plural string) string { return plural + "." + gwapiv1.GroupName }

func slice(s *discoveryv1.EndpointSlice) any {
	if v, ok := SliceFrom(s); ok {
		return v
	}
	return nil
}

func caBundle(m *corev1.ConfigMap) any {
	if b, ok := CABundleFrom(m); ok {
		return b
	}
	return nil
}

func grant(g *gwapiv1beta1.ReferenceGrant) any {
	trim(g)
	return (*gwapiv1.ReferenceGrant)(g)
}

// as adapts a conversion of one type.
func as[T client.Object](convert func(T) any) func(client.Object) any {
	return func(o client.Object) any { return convert(o.(T)) }
}

// keep keeps the object itself, without its status: what we write must not come back as a change.
func keep[T client.Object](strip func(T)) func(client.Object) any {
	return func(o client.Object) any {
		t := o.(T)
		strip(t)
		trim(t)
		return t
	}
}

// trim drops what changes with every write, repeats the rest or depends on the way the object came:
// lists leave out the kind that watches give. Nothing reads the rest of the metadata either, which may have a megabyte.
// The object is the caller's own.
func trim(o client.Object) {
	o.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	o.SetManagedFields(nil)
	o.SetResourceVersion("")
	o.SetAnnotations(nil)
	o.SetLabels(nil)
	o.SetOwnerReferences(nil)
	o.SetFinalizers(nil)
}
