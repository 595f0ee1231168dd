// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/controlplane/rights"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/protocol"
)

// TestProxyTrust: each stream of a proxy is told with the roots it came by, and whether it has its secrets.
func TestProxyTrust(t *testing.T) {
	end := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	of := func(id uint64, pod string, roots ...string) xds.Stream {
		return xds.Stream{ID: id, Principal: connected{Proxy: rights.Proxy{Namespace: "shop", Pod: pod}, roots: roots, notAfter: end}}
	}
	got := proxyTrust([]xds.Stream{of(1, "a", "old"), of(2, "b", "new"), {ID: 3, Principal: "somebody else"}}, map[uint64]bool{2: true})
	want := []protocol.ProxyTrust{
		{Namespace: "shop", Pod: "a", Acknowledged: true, Roots: []string{"old"}, NotAfter: end},
		{Namespace: "shop", Pod: "b", Roots: []string{"new"}, NotAfter: end},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestRenewIssuedBefore: what the operator asks for is compared with when certificates begin, and that
// is before they are made.
func TestRenewIssuedBefore(t *testing.T) {
	m := &v1alpha1.Mesh{}
	if s := settingsFrom(m, "0.3.0", "cluster.local"); s.RenewIssuedBefore != 0 {
		t.Errorf("asked for %d, want nothing", s.RenewIssuedBefore)
	}
	at := metav1.NewTime(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
	m.Status.Certificates = &v1alpha1.CertificatesStatus{RenewIssuedBefore: &at}
	s := settingsFrom(m, "0.3.0", "cluster.local")
	if made := at.Add(time.Second); made.Add(-protocol.Backdate).Unix() < s.RenewIssuedBefore {
		t.Error("a certificate that was made after that is renewed again")
	}
	if made := at.Add(-time.Second); made.Add(-protocol.Backdate).Unix() >= s.RenewIssuedBefore {
		t.Error("a certificate that was made before that is not renewed")
	}
}
