// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/api/v1alpha1"
)

// TestKeptRepository: the image of a slot changes to another tag or digest in the repository that the pod has, if
// that is a mirror's by admission of the cluster. It does not if a known release names the repository: images of
// the new one may be elsewhere, and are on the nodes from there.
func TestKeptRepository(t *testing.T) {
	named := func(repository string) bool {
		return slices.Contains([]string{"a/p", "a:5000/p", "old:5000/p"}, repository)
	}
	for _, c := range []struct{ has, want, image string }{
		{"a/p:1", "a/p:2", "a/p:2"},
		{"mirror:5000/x/p:1", "a/p:2", "mirror:5000/x/p:2"},
		{"mirror:5000/x/p", "a/p:2", "mirror:5000/x/p:2"},
		{"mirror/p:1@sha256:aa", "a:5000/p@sha256:bb", "mirror/p@sha256:bb"},
		{"mirror/p@sha256:aa", "a:5000/p:2@sha256:bb", "mirror/p:2@sha256:bb"},
		{"mirror/p:1", "a:5000/p", "a:5000/p"},
		{"", "a/p:2", "a/p:2"},
		{"old:5000/p:1", "a/p:2", "a/p:2"},
		{"old:5000/p:1@sha256:aa", "a/p:2@sha256:bb", "a/p:2@sha256:bb"},
		{"old:5000/p", "a/p:2", "a/p:2"},
		{"old:5000/p/x:1", "a/p:2", "old:5000/p/x:2"},
	} {
		if got := kept(c.has, c.want, named); got != c.image {
			t.Errorf("kept(%q, %q) = %q, want %q", c.has, c.want, got, c.image)
		}
	}
}

// TestMovedRepository: the images of releases have moved from one registry to another. Pods get images that the
// nodes were brought, there and back. A pod whose repository no release names keeps it, and is reported from the
// preflight on, unless the nodes were brought that image.
func TestMovedRepository(t *testing.T) {
	for name, c := range map[string]struct {
		named  []string
		pulled []string
		says   string // what is reported about pods
	}{
		"both are named, one pod is a mirror's": {named: []string{"old/proxy", "new/proxy"}, says: "Pod shop/w0-3 gets mirror/proxy:0.3.0; make"},
		"the nodes have the mirror's":           {named: []string{"old/proxy", "new/proxy"}, pulled: []string{"mirror/proxy:0.3.0"}},
		"the old one is forgotten":              {named: []string{"new/proxy"}, says: "Pod shop/w0-0 gets old/proxy:0.3.0; "},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 7, 12)
			w.named = func(repository string) bool { return slices.Contains(c.named, repository) }
			w.image = func(v string) string { return map[string]string{"0.2.0": "old/proxy:", "0.3.0": "new/proxy:"}[v] + v }
			w.pulled = c.pulled
			for _, p := range w.pods {
				repository := "old/proxy:"
				if p.Name == "w0-3" {
					repository = "mirror/proxy:"
				}
				p.slots["a"].image, p.slots["b"].image = repository+"0.2.0", repository+"0.2.0"
			}
			w.wanted = "0.3.0"
			back, reported, given := false, false, map[string]bool{}
			for range 3000 {
				d := w.operate(-1)
				if d.Unpulled != "" {
					reported = true
					if c.says == "" || !strings.Contains(d.Unpulled, c.says) || strings.Contains(c.says, "; make") && strings.Contains(d.Unpulled, "old/") {
						t.Fatalf("in phase %s: %q, want %q", d.Status.Phase, d.Unpulled, c.says)
					}
				} else if c.says != "" && d.Status.Phase == v1alpha1.PhaseShadow {
					t.Fatal("nothing is reported before the first pod is changed")
				}
				for _, m := range d.Moves {
					for _, image := range m.Images {
						given[image] = true
						if repository, _ := splitImage(image); image != w.image(d.Pull) && (slices.Contains(c.named, repository) || m.Name != "w0-3" && len(c.named) == 2) {
							t.Errorf("phase %s: %s gets %s, and the nodes are brought %s", d.Status.Phase, m.Name, image, w.image(d.Pull))
						}
					}
				}
				if d.Status.Wave == 2 {
					w.wanted = "0.2.0"
				}
				back = back || d.Status.Phase == v1alpha1.PhaseRollingBack
				if back && d.Settled {
					break
				}
				w.pass(2 * time.Second)
			}
			if n := strings.Count(strings.Join(w.events, " "), "ImagesNotPulled"); !back || reported != (c.says != "") || (n == 1) != reported {
				t.Errorf("rolled back: %v, reported: %v, by %d events", back, reported, n)
			}
			if len(c.named) == 2 && !given["new/proxy:0.3.0"] {
				t.Errorf("pods got %v", given)
			}
		})
	}
}
