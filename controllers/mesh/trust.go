// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/lifecycle/rotation"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/pages"
	"tulle.dev/tulle/internal/protocol"
)

// lookAtAuthorities looks at the authorities beside the one that signs: self-made roots and the trial intermediate.
func (r *Reconciler) lookAtAuthorities(ctx context.Context, _ *v1alpha1.Mesh, o *plan.Observed) error {
	s := &o.Rotation
	s.Roots, s.RootTLS = map[string]*cmv1.Certificate{}, map[string][]byte{}
	for _, name := range []string{names.RootSecret, names.SecondRootSecret, names.NextIntermediateSecret} {
		secret := &corev1.Secret{}
		found, err := r.find(ctx, name, secret)
		if err != nil {
			return err
		}
		crt, ca := secret.Data[corev1.TLSCertKey], secret.Data["ca.crt"] // the key is next to them and is not kept
		switch {
		case !found:
		case name == names.NextIntermediateSecret:
			s.NextTLS, s.NextCA = crt, ca
		default:
			s.RootTLS[name] = crt
		}
		if !o.CertManager {
			continue
		}
		c := &cmv1.Certificate{}
		if found, err = r.find(ctx, name, c); err != nil {
			return err
		}
		switch {
		case !found:
		case name == names.NextIntermediateSecret:
			s.Next = c
		default:
			s.Roots[name] = c
		}
	}
	return nil
}

// lookAtRequests looks at the CertificateRequests while a Certificate is being issued: an approver may be missing.
// They are not watched.
func (r *Reconciler) lookAtRequests(ctx context.Context, _ *v1alpha1.Mesh, o *plan.Observed) error {
	all := slices.AppendSeq([]*cmv1.Certificate{o.Certificates.Intermediate, o.Rotation.Next}, maps.Values(o.Rotation.Roots))
	if !slices.ContainsFunc(all, health.BeingIssued) {
		return nil
	}
	var list cmv1.CertificateRequestList
	err := r.Live.List(ctx, &list, client.InNamespace(r.Namespace))
	if apierrors.IsForbidden(err) {
		return nil // the operator's Role is of an earlier release; only a message is less precise
	}
	if ignoreMissing(err) != nil {
		return fmt.Errorf("list CertificateRequests: %w", err)
	}
	o.Certificates.Requests = list.Items
	return nil
}

// issuedBy reads what cert-manager wrote on a Secret; nil if it did not.
func issuedBy(s *corev1.Secret) *cmmeta.IssuerReference {
	a := s.Annotations
	if a[cmv1.IssuerNameAnnotationKey] == "" {
		return nil
	}
	return &cmmeta.IssuerReference{Name: a[cmv1.IssuerNameAnnotationKey], Kind: a[cmv1.IssuerKindAnnotationKey], Group: a[cmv1.IssuerGroupAnnotationKey]}
}

// lookAtProxyTrust asks who trusts which roots, when that matters.
func (r *Reconciler) lookAtProxyTrust(ctx context.Context, m *v1alpha1.Mesh, o *plan.Observed) error {
	if !rotation.Asks(m) || !m.DeletionTimestamp.IsZero() {
		return nil
	}
	var err error
	if o.Rotation.Lagging, err = r.lagging(ctx, m, o.SpreadRoots, o.Rotation.Anchors.Intermediates); err != nil {
		return err
	}
	o.Rotation.Replicas = r.Trust(ctx, replicas(o))
	connected := map[string]bool{}
	for _, rep := range o.Rotation.Replicas {
		if rep.Report == nil {
			return nil // nobody knows who is connected
		}
		for _, p := range rep.Report.Proxies {
			connected[p.Namespace+"/"+p.Pod] = true
		}
	}
	o.Rotation.Missing, err = r.missing(ctx, connected)
	return err
}

// lagging are the namespaces whose roots or intermediates are not those of the system namespace.
func (r *Reconciler) lagging(ctx context.Context, m *v1alpha1.Mesh, roots, intermediates string) ([]string, error) {
	only := client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", names.TrustConfigMap)}
	var out []string
	err := pages.Each(ctx, r.Live, func() *corev1.ConfigMapList { return &corev1.ConfigMapList{} }, func(list *corev1.ConfigMapList) error {
		for _, cm := range list.Items {
			// Where intermediates are not required yet, the key is not the operator's, and may be anybody's.
			same := cm.Data[names.TrustKey] == roots && (intermediates == "" || cm.Data[names.IntermediatesKey] == intermediates)
			if cm.Labels[names.LabelMesh] == m.Name && cm.Labels[names.LabelManagedBy] == names.Operator && !same && cm.DeletionTimestamp.IsZero() {
				out = append(out, cm.Namespace)
			}
		}
		return nil
	}, only)
	if err != nil {
		return nil, fmt.Errorf("list ConfigMaps %s: %w", names.TrustConfigMap, err)
	}
	slices.Sort(out)
	return out, nil
}

// maxMissing bounds how many pods are looked at closely. More than these are taken to run.
const maxMissing = 50

// proxySeen is whether a proxy ran in a pod of a resource version.
type proxySeen struct {
	version string
	runs    bool
}

// missing are the pods whose proxy runs and is not connected. It reads a pod only once in each resource version.
func (r *Reconciler) missing(ctx context.Context, connected map[string]bool) ([]string, error) {
	pods, err := r.proxies(ctx)
	if err != nil {
		return nil, err
	}
	pods = slices.DeleteFunc(slices.Clone(pods), func(p metav1.PartialObjectMetadata) bool {
		return connected[p.Namespace+"/"+p.Name] || !p.DeletionTimestamp.IsZero()
	})
	// The same ones each time: a cache has no order.
	slices.SortFunc(pods, func(a, b metav1.PartialObjectMetadata) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	var out []string
	before, looked := r.runs, map[types.UID]proxySeen{}
	for _, p := range pods {
		if len(looked) < maxMissing {
			seen := before[p.UID]
			if seen.version != p.ResourceVersion || seen.version == "" {
				if seen, err = r.proxyIn(ctx, &p); err != nil {
					return nil, err
				}
			}
			looked[p.UID] = seen
			// One that has not started its proxy gets the roots of today when it does.
			if !seen.runs {
				continue
			}
		}
		out = append(out, p.Namespace+"/"+p.Name)
	}
	r.runs = looked
	slices.Sort(out)
	return out, nil
}

// proxyIn reads a pod.
func (r *Reconciler) proxyIn(ctx context.Context, p *metav1.PartialObjectMetadata) (proxySeen, error) {
	full := &corev1.Pod{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: p.Namespace, Name: p.Name}, full)
	if apierrors.IsNotFound(err) {
		return proxySeen{version: p.ResourceVersion}, nil
	}
	if err != nil {
		return proxySeen{}, fmt.Errorf("get Pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	return proxySeen{full.ResourceVersion, proxyRuns(full)}, nil
}

func proxyRuns(p *corev1.Pod) bool {
	return slices.ContainsFunc(slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses), func(s corev1.ContainerStatus) bool {
		return (s.Name == names.ContainerSlotA || s.Name == names.ContainerSlotB) && s.State.Running != nil
	})
}

// Trust asks the ready ones of these replicas which roots they and their proxies trust, all at once.
func (d Debug) Trust(ctx context.Context, pods []corev1.Pod) []rotation.Replica {
	var out []rotation.Replica
	var asked []*corev1.Pod
	for i, p := range pods {
		if ready(p) && p.Status.PodIP != "" {
			out = append(out, rotation.Replica{Pod: p.Name})
			asked = append(asked, &pods[i])
		}
	}
	done := make(chan struct{})
	for i := range out {
		go func() {
			// One that can't be asked, or is of a release that does not tell, is known by its missing report.
			report := &protocol.TrustReport{}
			if d.get(ctx, asked[i], names.PathTrust, report) == nil {
				out[i].Report = report
			}
			done <- struct{}{}
		}()
	}
	for range out {
		<-done
	}
	slices.SortFunc(out, func(a, b rotation.Replica) int { return strings.Compare(a.Pod, b.Pod) })
	return out
}
