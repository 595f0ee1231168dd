// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package rotation

import (
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/health"
)

// maxRoots bounds the bundle that every proxy carries.
const maxRoots = 8

// bundle is what every proxy trusts: the roots that are active now, those that are to come, and in
// front of them in the order they came the earlier ones that have not ended and that drop does not
// give up. spread is the bundle that was spread last; of it only what known (Mesh status) lists is
// kept, so that a root that somebody else added to the ConfigMap goes away. Without any status, as
// after a restored backup, all of it is.
func bundle(active, coming []*x509.Certificate, spread string, known []v1alpha1.RootStatus, drop func(v1alpha1.RootStatus) bool, now time.Time) (string, []v1alpha1.RootStatus) {
	earlier, err := health.ParsePEM([]byte(spread))
	if err != nil {
		earlier = nil // Somebody broke it; the active roots repair it.
	}
	before := map[string]v1alpha1.RootStatus{}
	for _, r := range known {
		before[r.SHA256] = r
	}
	isActive := func(c *x509.Certificate) bool { return slices.ContainsFunc(active, c.Equal) }
	isNeeded := func(c *x509.Certificate) bool { return isActive(c) || slices.ContainsFunc(coming, c.Equal) }
	status := func(c *x509.Certificate) v1alpha1.RootStatus {
		s := v1alpha1.RootStatus{SHA256: health.Fingerprint(c), NotAfter: timeOf(c.NotAfter), Active: isActive(c)}
		if !isNeeded(c) {
			if s.InactiveSince = before[s.SHA256].InactiveSince; s.InactiveSince == nil {
				t := timeOf(now)
				s.InactiveSince = &t
			}
		}
		return s
	}
	var roots []*x509.Certificate
	for _, c := range earlier {
		_, ours := before[health.Fingerprint(c)]
		ours = ours || len(known) == 0
		stays := isNeeded(c) || ours && now.Before(c.NotAfter) && !drop(status(c))
		if stays && !slices.ContainsFunc(roots, c.Equal) {
			roots = append(roots, c)
		}
	}
	for _, c := range slices.Concat(active, coming) {
		if !slices.ContainsFunc(roots, c.Equal) {
			roots = append(roots, c)
		}
	}
	for len(roots) > maxRoots {
		oldest := slices.IndexFunc(roots, func(c *x509.Certificate) bool { return !isNeeded(c) })
		if oldest < 0 {
			break
		}
		roots = slices.Delete(roots, oldest, oldest+1)
	}
	var text strings.Builder
	out := make([]v1alpha1.RootStatus, 0, len(roots))
	for _, c := range roots {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
		out = append(out, status(c))
	}
	return text.String(), out
}

func timeOf(t time.Time) metav1.Time { return metav1.NewTime(t.UTC().Truncate(time.Second)) }

func idsOf(list []*x509.Certificate) set {
	out := set{}
	for _, c := range list {
		out[health.Fingerprint(c)] = true
	}
	return out
}

func idsIn(status []v1alpha1.RootStatus) set {
	out := set{}
	for _, r := range status {
		out[r.SHA256] = true
	}
	return out
}
