// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controllers

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/controllers/kinds"
	"tulle.dev/tulle/internal/names"
)

// large fills metadata as a tenant may.
func large(o client.Object) client.Object {
	o.SetNamespace("shop")
	o.SetName("x")
	labels, annotations := map[string]string{names.LabelProxy: names.KindSidecar, names.LabelVersion: "0.2.0"}, map[string]string{}
	yes := true
	owners := []metav1.OwnerReference{{Kind: "Gateway", Name: "gw", UID: "u", Controller: &yes}}
	var finalizers []string
	for i := range 1000 {
		labels[fmt.Sprintf("tulle.dev/l%d", i)] = strings.Repeat("x", 60)
		annotations[fmt.Sprintf("a%d", i)] = strings.Repeat("x", 200)
		owners = append(owners, metav1.OwnerReference{Kind: "X", Name: strings.Repeat("x", 60), UID: types.UID(fmt.Sprint(i))})
		finalizers = append(finalizers, fmt.Sprintf("example.com/f%d", i))
	}
	owners = append(owners, metav1.OwnerReference{Name: strings.Repeat("x", 1<<20)})
	o.SetLabels(labels)
	o.SetAnnotations(annotations)
	o.SetOwnerReferences(owners)
	o.SetFinalizers(finalizers)
	o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "x"}})
	return o
}

// TestCachesAreSmall: what a tenant writes into the metadata of an object takes little of the operator's memory, and
// what the operator reads of it stays.
func TestCachesAreSmall(t *testing.T) {
	for _, o := range []client.Object{
		kinds.Metadata(corev1.SchemeGroupVersion.WithKind("Pod")), kinds.Metadata(corev1.SchemeGroupVersion.WithKind("Service")),
		&gwapiv1.Gateway{}, &gwapiv1.ListenerSet{}, &gwapiv1.BackendTLSPolicy{},
	} {
		if _, err := trim()(large(o)); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > 16<<10 {
			t.Errorf("%T keeps %d bytes", o, len(text))
		}
		owner := metav1.GetControllerOf(o)
		if o.GetName() != "x" || o.GetLabels()[names.LabelProxy] == "" || o.GetLabels()[names.LabelVersion] != "0.2.0" || owner == nil || owner.UID != "u" {
			t.Errorf("%T is not what it was: %s", o, text)
		}
	}
}

// TestCachesKeep: labels of the usual size stay, for selectors, and annotations where the operator reads them.
func TestCachesKeep(t *testing.T) {
	o := kinds.Metadata(corev1.SchemeGroupVersion.WithKind("Namespace"))
	o.Labels = map[string]string{"team": "w"}
	if _, err := trim()(o); err != nil || o.Labels["team"] != "w" {
		t.Error(err, o.Labels)
	}
	crd := kinds.Definition()
	crd.Annotations = map[string]string{"version": "v1"}
	if _, err := trim()(crd); err != nil || crd.Annotations["version"] != "v1" {
		t.Error(err, crd.Annotations)
	}
}
