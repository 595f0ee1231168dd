// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import "testing"

// TestKeptRepository: the image of a slot changes to another tag or digest in the repository that the pod has,
// which may be a mirror's by admission of the cluster.
func TestKeptRepository(t *testing.T) {
	for _, c := range []struct{ has, want, image string }{
		{"a/p:1", "a/p:2", "a/p:2"},
		{"mirror:5000/x/p:1", "a/p:2", "mirror:5000/x/p:2"},
		{"mirror:5000/x/p", "a/p:2", "mirror:5000/x/p:2"},
		{"mirror/p:1@sha256:aa", "a:5000/p@sha256:bb", "mirror/p@sha256:bb"},
		{"mirror/p@sha256:aa", "a:5000/p:2@sha256:bb", "mirror/p:2@sha256:bb"},
		{"mirror/p:1", "a:5000/p", "a:5000/p"},
		{"", "a/p:2", "a/p:2"},
	} {
		if got := kept(c.has, c.want); got != c.image {
			t.Errorf("kept(%q, %q) = %q, want %q", c.has, c.want, got, c.image)
		}
	}
}
