// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package apply

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"tulle.dev/tulle/internal/lifecycle/missing"
)

// TestEvict: an eviction that is refused for now is asked for once and holds nothing up, even where the
// server says when to come again.
func TestEvict(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for name, c := range map[string]struct {
		answer metav1.Status
		fails  bool
	}{
		"gone":                 {answer: apierrors.NewNotFound(pods, "web-1").ErrStatus},
		"another of its name":  {answer: apierrors.NewConflict(pods, "web-1", nil).ErrStatus},
		"kept":                 {answer: apierrors.NewTooManyRequests("the budget allows none", 0).ErrStatus},
		"nobody looked at yet": {answer: apierrors.NewTooManyRequests("the budget is being looked at", 10).ErrStatus},
		"not allowed":          {answer: apierrors.NewForbidden(pods, "web-1", nil).ErrStatus, fails: true},
		"done":                 {answer: metav1.Status{Status: metav1.StatusSuccess, Code: http.StatusCreated}},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				var got policyv1.Eviction
				if err := json.NewDecoder(r.Body).Decode(&got); err != nil || r.Method+r.URL.Path != "POST/api/v1/namespaces/shop/pods/web-1/eviction" ||
					got.Kind != "Eviction" || got.Name != "web-1" || got.DeleteOptions == nil || *got.DeleteOptions.Preconditions.UID != "7" {
					t.Errorf("%s %s: %+v, %v", r.Method, r.URL, got, err)
				}
				w.Header().Set("Content-Type", "application/json")
				if d := c.answer.Details; d != nil && d.RetryAfterSeconds > 0 {
					w.Header().Set("Retry-After", "10")
				}
				c.answer.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
				w.WriteHeader(int(c.answer.Code))
				if err := json.NewEncoder(w).Encode(c.answer); err != nil {
					t.Error(err)
				}
			}))
			defer server.Close()
			core, err := corev1client.NewForConfig(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			err = New(nil, core.RESTClient(), nil, nil).evict(t.Context(), missing.Pod{Namespace: "shop", Name: "web-1", UID: "7"})
			if (err != nil) != c.fails || asked.Load() != 1 {
				t.Errorf("asked %d times, error %v", asked.Load(), err)
			}
		})
	}
}
