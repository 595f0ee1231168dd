// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controllers

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/clip"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/pages"
)

const (
	// mostLabelsOfNamespace, longestLabelsOfNamespace are the bounds on a namespace's labels before only Tulle's are kept.
	// Administrators write them, and the Mesh's selector reads them. For other objects see clip.MostLabels.
	mostLabelsOfNamespace    = 512
	longestLabelsOfNamespace = 16 << 10
	// mostOwners, longestOwner are how many owners are kept and how long their names and UIDs may be.
	mostOwners   = 16
	longestOwner = 1024
)

// small returns the options of a cache that lists in pages and keeps little of an object, also while it reads
// objects.
func small(o cache.Options) cache.Options {
	o.DefaultTransform = trim()
	o.NewInformer = func(lw toolscache.ListerWatcher, of runtime.Object, resync time.Duration, by toolscache.Indexers) toolscache.SharedIndexInformer {
		return toolscache.NewSharedIndexInformer(pages.ListWatch(lw, func(o runtime.Object) (runtime.Object, error) {
			_, err := trim()(o)
			return o, err
		}), of, resync, by)
	}
	return o
}

// trim is what the operator's caches keep of an object. Tenants decide how large metadata is: an object may have a
// megabyte of it.
func trim() toolscache.TransformFunc {
	return func(in any) (any, error) {
		o, ok := in.(client.Object)
		if !ok {
			return in, nil // a tombstone
		}
		o.SetManagedFields(nil)
		if !annotated(o) {
			o.SetAnnotations(nil)
			o.SetLabels(labelsKept(o))
			o.SetOwnerReferences(ownersKept(o.GetOwnerReferences()))
			o.SetFinalizers(nil)
		}
		switch o := o.(type) {
		case *gwapiv1.Gateway:
			o.Spec.AllowedListeners = nil
			for i := range o.Spec.Listeners {
				o.Spec.Listeners[i].AllowedRoutes = nil
				optionless(o.Spec.Listeners[i].TLS)
			}
		case *gwapiv1.ListenerSet:
			o.Status = gwapiv1.ListenerSetStatus{} // the operator reads the spec
			for i := range o.Spec.Listeners {
				o.Spec.Listeners[i].AllowedRoutes = nil
				optionless(o.Spec.Listeners[i].TLS)
			}
		}
		return in, nil
	}
}

// optionless removes the options of a listener's TLS. The operator reads neither them nor which routes and ListenerSets
// are allowed, whose selectors have no limit.
func optionless(t *gwapiv1.ListenerTLSConfig) {
	if t != nil {
		t.Options = nil
	}
}

// annotated tells whether the operator reads annotations or finalizers of an object in a cache: only those that
// administrators write.
func annotated(o client.Object) bool {
	switch o := o.(type) {
	case *v1alpha1.Mesh, *gwapiv1.GatewayClass:
		return true
	case *metav1.PartialObjectMetadata:
		return o.Kind == "CustomResourceDefinition"
	}
	return false
}

// labelsKept returns the labels of an object, or only Tulle's if there are too many.
func labelsKept(o client.Object) map[string]string {
	most, longest := clip.MostLabels, clip.LongestLabels
	if o, ok := o.(*metav1.PartialObjectMetadata); ok && o.Kind == "Namespace" {
		most, longest = mostLabelsOfNamespace, longestLabelsOfNamespace
	}
	kept, _ := clip.Labels(o.GetLabels(), most, longest, tullesLabels()...)
	return kept
}

// tullesLabels are those that the operator reads.
func tullesLabels() []string {
	return []string{
		names.LabelInject, names.LabelProxy, names.LabelClient, names.LabelRevision, names.LabelVersion, names.LabelMesh, names.LabelUpgrade,
		names.LabelGateway, names.LabelManagedBy, names.LabelApp, corev1.LabelMetadataName,
		appsv1.DefaultDeploymentUniqueLabelKey, appsv1.ControllerRevisionHashLabelKey,
	}
}

func ownersKept(owners []metav1.OwnerReference) []metav1.OwnerReference {
	long := func(o metav1.OwnerReference) bool {
		return len(o.APIVersion)+len(o.Kind)+len(o.Name)+len(o.UID) > longestOwner
	}
	if len(owners) <= mostOwners && !slices.ContainsFunc(owners, long) {
		return owners
	}
	out := slices.DeleteFunc(slices.Clone(owners), long)
	return slices.Clone(out[:min(len(out), mostOwners)])
}
