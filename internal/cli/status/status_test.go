// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/facts"
)

// TestGroups: every proxy is in one group, counted as ready, connected and rejecting.
func TestGroups(t *testing.T) {
	f := facts.Facts{
		Proxies: []facts.Pod{
			{Namespace: "a", Name: "1", Kind: "sidecar", Version: "0.2.0", Ready: true},
			{Namespace: "a", Name: "2", Kind: "sidecar", Version: "0.2.0"},
			{Namespace: "b", Name: "1", Kind: "sidecar", Version: "0.0.9", Ready: true},
			{Namespace: "b", Name: "2", Kind: "gateway", Version: "0.2.0", Ready: true},
		},
		Streams: []facts.Stream{
			{Namespace: "a", Pod: "1", Rejected: 1},
			{Namespace: "b", Pod: "2"},
			{Namespace: "b", Pod: "ended"},
		},
	}
	one, none := 1, 0
	want := []Group{
		{Kind: "sidecar", Version: "0.0.9", Pods: 1, Ready: 1, Connected: &none},
		{Kind: "gateway", Version: "0.2.0", Pods: 1, Ready: 1, Connected: &one},
		{Kind: "sidecar", Version: "0.2.0", Pods: 2, Ready: 1, Connected: &one, Rejecting: 1},
	}
	if d := cmp.Diff(want, Of(f).Proxies); d != "" {
		t.Error(d)
	}
	f.Unread = []facts.Unread{{What: facts.UnreadControlPlane, Why: "down"}}
	for _, g := range Of(f).Proxies {
		if g.Connected != nil {
			t.Errorf("%+v: counted what nobody told", g)
		}
	}
}

// TestMesh: the active Mesh is the oldest, and its condition is told.
func TestMesh(t *testing.T) {
	f := facts.Facts{Meshes: []v1alpha1.Mesh{{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec:       v1alpha1.MeshSpec{Version: "0.3.0", TrustDomain: "example.org", MTLS: v1alpha1.MTLS{Mode: v1alpha1.MTLSStrict}},
		Status: v1alpha1.MeshStatus{Version: "0.2.0", Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonUnknownVersion},
		}},
	}}}
	want := &Mesh{Name: "default", Wanted: "0.3.0", Serving: "0.2.0", TrustDomain: "example.org", MTLS: "Strict", Reason: "UnknownVersion"}
	r := Of(f)
	if d := cmp.Diff(want, r.Mesh); d != "" {
		t.Error(d)
	}
	if len(r.Findings) == 0 {
		t.Error("a Mesh without anything wants attention")
	}
	if r := Of(facts.Facts{}); r.Mesh != nil || len(r.Findings) != 0 {
		t.Errorf("%+v", r)
	}
}
