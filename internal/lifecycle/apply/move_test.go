// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package apply

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
)

// refusing is an API server that takes patches of pods, and none of their requests.
type refusing struct {
	client.Client
	patched, resized int
	body             string // of the last patch of a pod
}

func (r *refusing) Patch(_ context.Context, o client.Object, p client.Patch, _ ...client.PatchOption) error {
	r.patched++
	body, err := p.Data(o)
	r.body = string(body)
	return err
}

func (r *refusing) SubResource(name string) client.SubResourceClient {
	return &refusal{r: r, name: name}
}

type refusal struct {
	client.SubResourceClient
	r    *refusing
	name string
}

func (s *refusal) Patch(_ context.Context, o client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
	s.r.resized++
	return apierrors.NewForbidden(schema.GroupResource{Resource: "pods/" + s.name}, o.GetName(), nil)
}

// TestRefusedRequests: that a slot's requests can't be changed does not keep the rest of a move back, and
// is tried only when there is something to change.
func TestRefusedRequests(t *testing.T) {
	r := &refusing{}
	a := New(r, nil, r, r)
	requests := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("5m")}
	m := upgrade.Move{Namespace: "shop", Name: "web-1", UID: "1", Version: "0.3.0", Requests: map[string]corev1.ResourceList{"a": requests, "b": requests}}
	if err := a.move(t.Context(), m); err != nil {
		t.Errorf("the move failed: %v", err)
	}
	if r.resized != 1 || r.patched != 1 {
		t.Errorf("%d patches of the requests and %d of the pod, want one each", r.resized, r.patched)
	}
	m.Requests = nil
	if err := a.move(t.Context(), m); err != nil || r.resized != 1 || r.patched != 2 {
		t.Errorf("%d patches of the requests and %d of the pod, %v", r.resized, r.patched, err)
	}
}

// TestImageIsMarked: with an image, in the same patch, the pod gets the label to which the policy about images is
// bound; without one it does not.
func TestImageIsMarked(t *testing.T) {
	r := &refusing{}
	a := New(r, nil, r, r)
	m := upgrade.Move{Namespace: "shop", Name: "web-1", UID: "1"}
	for _, c := range []struct{ version, image, body string }{
		{"", "p:2", `{"metadata":{"labels":{"tulle.dev/image-replaced":"true"},"uid":"1"},"spec":{"initContainers":[{"image":"p:2","name":"tulle-proxy-b"}]}}`},
		{"0.2.0", "p:2", `{"metadata":{"labels":{"tulle.dev/image-replaced":"true","tulle.dev/version":"0.2.0"},"uid":"1"},"spec":{"initContainers":[{"image":"p:2","name":"tulle-proxy-b"}]}}`},
		{"0.2.0", "", `{"metadata":{"labels":{"tulle.dev/version":"0.2.0"},"uid":"1"}}`},
	} {
		m.Version, m.Images = c.version, nil
		if c.image != "" {
			m.Images = map[string]string{"b": c.image}
		}
		if err := a.move(t.Context(), m); err != nil || r.body != c.body {
			t.Errorf("patch %s, %v, want %s", r.body, err, c.body)
		}
	}
}

// TestRestart: a restart leaves no annotation on the template that the webhook of 0.2.0 refuses, so that the
// pods can go back to that release. It refuses any with the prefix tulle.dev/ that authors of workloads may not set.
func TestRestart(t *testing.T) {
	r := &refusing{}
	m := upgrade.Move{Namespace: "shop", Version: "0.3.0", Template: "6b85", Restart: upgrade.Restart{Kind: "Deployment", Name: "web"}}
	if err := New(r, nil, r, r).move(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	var patch struct {
		Spec struct {
			Template struct {
				Metadata struct{ Annotations map[string]*string }
			}
		}
	}
	if err := json.Unmarshal([]byte(r.body), &patch); err != nil {
		t.Fatal(err)
	}
	set := 0
	for key, value := range patch.Spec.Template.Metadata.Annotations {
		if value != nil {
			set++
			if strings.HasPrefix(key, names.Group+"/") || *value != "0.3.0/6b85" {
				t.Errorf("the template gets %s=%s", key, *value)
			}
		}
	}
	if old, named := patch.Spec.Template.Metadata.Annotations[names.AnnotationRestart020]; set != 1 || !named || old != nil {
		t.Errorf("%d annotations are set, want one and that of 0.2.0 removed: %s", set, r.body)
	}
}
