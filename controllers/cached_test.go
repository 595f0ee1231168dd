// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controllers

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strconv"
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

// TestTinyLabels: thousands of labels of a few bytes, whose memory is many times their text, take little of each object;
// so do selectors and options of Gateways.
func TestTinyLabels(t *testing.T) {
	many := func() map[string]string {
		out := map[string]string{names.LabelProxy: names.KindSidecar}
		for i := range 4000 {
			out[strconv.FormatInt(int64(i), 36)] = ""
		}
		return out
	}
	listener := func() gwapiv1.Listener {
		options := map[gwapiv1.AnnotationKey]gwapiv1.AnnotationValue{}
		for k := range many() {
			options[gwapiv1.AnnotationKey(k)] = ""
		}
		return gwapiv1.Listener{
			AllowedRoutes: &gwapiv1.AllowedRoutes{Namespaces: &gwapiv1.RouteNamespaces{Selector: &metav1.LabelSelector{MatchLabels: many()}}},
			TLS:           &gwapiv1.ListenerTLSConfig{Options: options, CertificateRefs: []gwapiv1.SecretObjectReference{{Name: "c"}}},
		}
	}
	for kind, fresh := range map[string]func() client.Object{
		"Pod":       func() client.Object { return kinds.Metadata(corev1.SchemeGroupVersion.WithKind("Pod")) },
		"Namespace": func() client.Object { return kinds.Metadata(corev1.SchemeGroupVersion.WithKind("Namespace")) },
		"Gateway": func() client.Object {
			return &gwapiv1.Gateway{Spec: gwapiv1.GatewaySpec{
				Listeners:        []gwapiv1.Listener{listener()},
				AllowedListeners: &gwapiv1.AllowedListeners{Namespaces: &gwapiv1.ListenerNamespaces{Selector: &metav1.LabelSelector{MatchLabels: many()}}},
			}}
		},
		"ListenerSet": func() client.Object {
			li := listener()
			return &gwapiv1.ListenerSet{Spec: gwapiv1.ListenerSetSpec{Listeners: []gwapiv1.ListenerEntry{{AllowedRoutes: li.AllowedRoutes, TLS: li.TLS}}}}
		},
	} {
		const objects = 50
		var kept []client.Object
		before := heap()
		for range objects {
			o := fresh()
			o.SetLabels(many())
			if _, err := trim()(o); err != nil {
				t.Fatal(err)
			}
			if n := len(o.GetLabels()); n != 1 || o.GetLabels()[names.LabelProxy] == "" {
				t.Errorf("%s: %d labels", kind, n)
			}
			kept = append(kept, o)
		}
		if each := (heap() - before) / objects; each > 16<<10 {
			t.Errorf("%d bytes of each %s", each, kind)
		}
		if gw, is := kept[0].(*gwapiv1.Gateway); is && gw.Spec.Listeners[0].TLS.CertificateRefs == nil {
			t.Error("the references of a Gateway are not kept")
		}
		runtime.KeepAlive(kept)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
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
