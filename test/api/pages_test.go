// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/pages"
)

// TestLargePods: a tenant's pods of a megabyte each are read in small pages from the real API server, which compresses
// answers and continues a list from its cache.
func TestLargePods(t *testing.T) {
	namespace(t, "large", nil)
	var want []string
	for i := range 40 {
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "large", Name: fmt.Sprintf("p%02d", i)},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "registry.example/app:1"}}},
		}
		if i >= 20 { // the page's size was chosen for small ones
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "X", Value: strings.Repeat("x", 1000<<10)}}
		}
		if err := admin.Create(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		want = append(want, p.Name)
	}
	t.Cleanup(func() {
		if err := admin.DeleteAllOf(context.Background(), &corev1.Pod{}, client.InNamespace("large"), client.GracePeriodSeconds(0)); err != nil {
			t.Log(err) // the server ends with the tests
		}
	})
	h, err := rest.HTTPClientFor(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	h.Transport = pages.Transport(h.Transport)
	c, err := client.New(server.Config, client.Options{HTTPClient: h})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	fresh := func() *corev1.PodList { return &corev1.PodList{} }
	err = pages.Each(t.Context(), c, fresh, func(list *corev1.PodList) error {
		if n := list.Size(); n > pages.MaxBytes {
			t.Errorf("a page of %d pods has %d bytes", len(list.Items), n)
		}
		for _, p := range list.Items {
			got = append(got, p.Name)
		}
		return nil
	}, client.InNamespace("large"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
