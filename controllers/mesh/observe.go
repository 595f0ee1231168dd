// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"context"
	"fmt"
	"slices"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/controllers/active"
	"tulle.dev/tulle/controllers/kinds"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/lifecycle/rotation"
	"tulle.dev/tulle/internal/names"
)

// observe looks at all that the plan depends on.
func (r *Reconciler) observe(ctx context.Context, m *v1alpha1.Mesh) (plan.Observed, error) {
	o := plan.Observed{Namespace: r.Namespace}
	oldest, err := active.Mesh(ctx, r.Live)
	if err != nil {
		return o, err
	}
	if oldest != nil && oldest.UID != m.UID {
		// Nothing else matters for a Mesh that is not the active one.
		o.OlderMesh = oldest.Name
		return o, nil
	}
	for _, look := range []func(context.Context, *v1alpha1.Mesh, *plan.Observed) error{
		r.lookAtKinds, r.lookAtCertificates, r.lookAtAuthorities, r.lookAtRequests, r.lookAtTrust, r.lookAtControlPlane, r.lookAtXMesh, r.lookAtReferences, r.lookAtOwned,
		r.lookAtProxies, r.lookAtMissing, r.lookAtProxyTrust, r.lookAtRollout, r.lookAtUsage, r.lookAtReports,
	} {
		if err := look(ctx, m, &o); err != nil {
			return o, err
		}
	}
	return o, nil
}

func (r *Reconciler) lookAtKinds(ctx context.Context, _ *v1alpha1.Mesh, o *plan.Observed) error {
	for _, k := range []struct {
		list []kinds.Kind
		into *bool
	}{{kinds.CertManager(), &o.CertManager}, {kinds.GatewayAPI(), &o.GatewayAPI}, {kinds.XMesh(), &o.XMeshKind}} {
		there, err := r.Kinds.Installed(ctx, k.list)
		if err != nil {
			return err
		}
		*k.into = there
	}
	return nil
}

func (r *Reconciler) lookAtCertificates(ctx context.Context, m *v1alpha1.Mesh, o *plan.Observed) error {
	f := &o.Certificates
	secret := &corev1.Secret{}
	found, err := r.find(ctx, names.IntermediateSecret, secret)
	if err != nil {
		return err
	}
	if found {
		// The key is next to them and is not kept.
		f.TLSCrt, f.CACrt = secret.Data[corev1.TLSCertKey], secret.Data["ca.crt"]
		o.Rotation.IssuedBy = issuedBy(secret)
	}
	if !o.CertManager {
		return nil
	}
	c := &cmv1.Certificate{}
	if found, err = r.find(ctx, names.IntermediateSecret, c); err != nil {
		return err
	}
	if found {
		f.Intermediate = c
	}
	f.Issuer, err = r.issuer(ctx, m.Spec.Certificates.IssuerRef)
	return err
}

// issuer looks at the issuer that the Mesh names; nil if it names none or an external one.
func (r *Reconciler) issuer(ctx context.Context, ref *v1alpha1.IssuerRef) (*health.IssuerFacts, error) {
	if ref == nil || ref.Group != "cert-manager.io" {
		return nil, nil
	}
	if ref.Kind == cmv1.IssuerKind {
		issuer := &cmv1.Issuer{}
		found, err := r.find(ctx, ref.Name, issuer)
		return &health.IssuerFacts{Found: found, Spec: issuer.Spec, Status: issuer.Status}, err
	}
	issuer := &cmv1.ClusterIssuer{}
	err := r.Live.Get(ctx, client.ObjectKey{Name: ref.Name}, issuer)
	if ignoreMissing(err) != nil {
		return nil, fmt.Errorf("get ClusterIssuer %s: %w", ref.Name, err)
	}
	return &health.IssuerFacts{Found: err == nil, Spec: issuer.Spec, Status: issuer.Status}, nil
}

func (r *Reconciler) lookAtTrust(ctx context.Context, _ *v1alpha1.Mesh, o *plan.Observed) error {
	cm := &corev1.ConfigMap{}
	_, err := r.find(ctx, names.TrustConfigMap, cm)
	o.SpreadRoots = cm.Data[names.TrustKey]
	o.Rotation.Anchors = rotation.Anchors{
		Intermediates: cm.Data[names.IntermediatesKey], Recorded: cm.Data[names.RecordedIntermediatesKey], Signers: cm.Data[names.SignersKey],
	}
	return err
}

func (r *Reconciler) lookAtControlPlane(ctx context.Context, _ *v1alpha1.Mesh, o *plan.Observed) error {
	svc := &corev1.Service{}
	if _, err := r.find(ctx, names.ControlPlaneService, svc); err != nil {
		return err
	}
	o.ServingRevision = svc.Spec.Selector[names.LabelRevision]
	ours := []client.ListOption{client.InNamespace(r.Namespace), client.MatchingLabels{names.LabelApp: names.ControlPlaneService}}
	var deployments appsv1.DeploymentList
	if err := r.Live.List(ctx, &deployments, ours...); err != nil {
		return fmt.Errorf("list Deployments: %w", err)
	}
	var pods corev1.PodList
	if err := r.Live.List(ctx, &pods, ours...); err != nil {
		return fmt.Errorf("list Pods: %w", err)
	}
	o.Deployments, o.Pods = map[string]*appsv1.Deployment{}, map[string][]corev1.Pod{}
	for i, d := range deployments.Items {
		o.Deployments[d.Labels[names.LabelRevision]] = &deployments.Items[i]
	}
	for _, p := range pods.Items {
		rev := p.Labels[names.LabelRevision]
		o.Pods[rev] = append(o.Pods[rev], p)
	}
	return nil
}

func (r *Reconciler) lookAtXMesh(ctx context.Context, _ *v1alpha1.Mesh, o *plan.Observed) error {
	if !o.XMeshKind {
		return nil
	}
	x := kinds.Metadata(kinds.XMesh()[0].GroupVersionKind)
	err := r.Live.Get(ctx, client.ObjectKey{Name: names.XMesh}, x)
	if ignoreMissing(err) != nil {
		return fmt.Errorf("get XMesh %s: %w", names.XMesh, err)
	}
	o.XMesh = err == nil
	o.XMeshOurs = o.XMesh && madeByTulle(x)
	return nil
}

// madeByTulle tells whether nobody else ever wrote to the spec. The object carries no label of
// ours, because the Gateway API lets its maker set its name and controllerName only.
func madeByTulle(o *metav1.PartialObjectMetadata) bool {
	for _, f := range o.ManagedFields {
		if f.Subresource == "" && f.Manager != names.FieldManager {
			return false
		}
	}
	return len(o.ManagedFields) > 0
}

func (r *Reconciler) lookAtOwned(ctx context.Context, m *v1alpha1.Mesh, o *plan.Observed) error {
	mine := client.MatchingLabels{names.LabelMesh: m.Name}
	for _, k := range Owned() {
		if k.Group == "cert-manager.io" && !o.CertManager || k.Group == "gateway.networking.k8s.io" && !o.GatewayAPI {
			continue
		}
		refs, err := r.refs(ctx, k, mine)
		if err != nil {
			return err
		}
		// Labels prove nothing in another namespace, where the mesh has nothing but its roots.
		o.Owned = append(o.Owned, slices.DeleteFunc(refs, func(ref plan.Ref) bool {
			return ref.Namespace != "" && ref.Namespace != r.Namespace && (ref.Kind != "ConfigMap" || ref.Name != names.TrustConfigMap)
		})...)
	}
	return nil
}

// refs lists objects of a kind from the cache.
func (r *Reconciler) refs(ctx context.Context, gvk schema.GroupVersionKind, opts ...client.ListOption) ([]plan.Ref, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
	if err := r.Cache.List(ctx, list, opts...); err != nil {
		return nil, fmt.Errorf("list %ss: %w", gvk.Kind, err)
	}
	out := make([]plan.Ref, 0, len(list.Items))
	for i := range list.Items {
		out = append(out, refTo(gvk, &list.Items[i]))
	}
	return out, nil
}

func refTo(gvk schema.GroupVersionKind, o *metav1.PartialObjectMetadata) plan.Ref {
	return plan.Ref{
		GroupVersionKind: gvk,
		NamespacedName:   types.NamespacedName{Namespace: o.Namespace, Name: o.Name},
		UID:              o.UID,
		Deleting:         !o.DeletionTimestamp.IsZero(),
	}
}

// find reads an object of the operator's namespace; one that is missing, or whose kind is, is not found.
func (r *Reconciler) find(ctx context.Context, name string, into client.Object) (bool, error) {
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: name}, into)
	if ignoreMissing(err) != nil {
		return false, fmt.Errorf("get %T %s/%s: %w", into, r.Namespace, name, err)
	}
	return err == nil, nil
}

// ignoreMissing takes a missing object, or a kind that is not installed, for no error.
func ignoreMissing(err error) error {
	if meta.IsNoMatchError(err) {
		return nil
	}
	return client.IgnoreNotFound(err)
}
