// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// isAbsent tells whether a watch failed because the cluster does not have the kind. Discovery alone
// is not believed: an API server that has just started does not show custom resources for a moment,
// and to take that for their absence would take every route from every proxy. So the CRD is asked for.
func (s *Source) isAbsent(ctx context.Context, f feed, err error) bool {
	if f.crd == "" || !isUnknown(err) {
		return false
	}
	there, err := s.served(ctx, f)
	if err != nil {
		if ctx.Err() == nil {
			klog.FromContext(ctx).Info("Waiting until it is known whether the kind exists", "error", err.Error())
		}
		return false
	}
	return !there
}

// isUnknown: the API server, or what it says about itself, does not know the kind.
func isUnknown(err error) bool {
	var kind *meta.NoKindMatchError
	var resource *meta.NoResourceMatchError
	return errors.As(err, &kind) || errors.As(err, &resource) || apierrors.IsNotFound(err)
}

// served asks the CRD whether its kind is served in the version that is watched.
func served(ctx context.Context, c client.Reader, f feed) (bool, error) {
	crd := &unstructured.Unstructured{}
	crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	if err := c.Get(ctx, types.NamespacedName{Name: f.crd}, crd); err != nil {
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return false, fmt.Errorf("get CustomResourceDefinition %s: %w", f.crd, err)
	}
	return serves(crd.Object, f.version), nil
}

// serves reads spec.versions.
func serves(crd map[string]any, version string) bool {
	versions, _, err := unstructured.NestedSlice(crd, "spec", "versions")
	if err != nil {
		return false
	}
	for _, v := range versions {
		if m, ok := v.(map[string]any); ok && m["name"] == version && m["served"] == true {
			return true
		}
	}
	return false
}
