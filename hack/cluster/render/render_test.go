// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/hack/cluster/layout"
)

func testLayout(t *testing.T) layout.Layout {
	t.Helper()
	l, err := layout.New("two", 7, "/srv/two")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Whatever is rendered speaks of loopback, of "any", and of the layout's own
// ranges, never of another address or another cluster's.
func TestNoForeignAddress(t *testing.T) {
	l := testLayout(t)
	var all strings.Builder
	for _, c := range Files(l, "overlayfs") {
		all.WriteString(c)
	}
	for _, c := range Components(l) {
		all.WriteString(strings.Join(c.Args, "\n") + c.Ready.HTTP + c.Ready.HTTPS + c.Ready.TCP)
	}
	own := append(l.Routed(), l.Link(), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("0.0.0.0/32"))
	found := regexp.MustCompile(`\d+\.\d+\.\d+\.\d+`).FindAllString(all.String(), -1)
	if len(found) < 10 {
		t.Fatalf("found only %d addresses", len(found))
	}
	for _, s := range found {
		a := netip.MustParseAddr(s)
		if !slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Contains(a) }) {
			t.Errorf("%s is not one of this cluster's", a)
		}
	}
}

func TestPathsAreTheClusters(t *testing.T) {
	l := testLayout(t)
	for file := range Files(l, "overlayfs") {
		if !strings.HasPrefix(file, l.State+"/") {
			t.Errorf("%s is outside the state folder", file)
		}
	}
	for _, c := range Components(l) {
		if !strings.HasPrefix(c.Args[0], l.Bin()+"/") {
			t.Errorf("%s runs %s, not a program of the cluster", c.Name, c.Args[0])
		}
	}
}

func TestConfigurationParses(t *testing.T) {
	l := testLayout(t)
	kinds := map[string]string{"kubelet.yaml": "KubeletConfiguration", "kube-proxy.yaml": "KubeProxyConfiguration"}
	seen := 0
	for file, content := range Files(l, "overlayfs") {
		for suffix, kind := range kinds {
			if !strings.HasSuffix(file, suffix) {
				continue
			}
			seen++
			var v map[string]any
			if err := yaml.UnmarshalStrict([]byte(content), &v); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			if v["kind"] != kind {
				t.Errorf("%s is a %v", file, v["kind"])
			}
		}
		if strings.HasSuffix(file, ".conflist") {
			seen++
			var v struct{ Plugins []struct{ Type string } }
			if err := json.Unmarshal([]byte(content), &v); err != nil || len(v.Plugins) != 2 || v.Plugins[0].Type != "ptp" {
				t.Errorf("%s: %v %+v", file, err, v)
			}
		}
		if strings.Contains(content, "%!") {
			t.Errorf("%s has a formatting mistake:\n%s", file, content)
		}
	}
	if seen != 3 {
		t.Errorf("checked %d files, want 3", seen)
	}
}

// A component may wait only for components before it, else none would start.
func TestOrder(t *testing.T) {
	before := map[string]bool{}
	for _, c := range Components(testLayout(t)) {
		for _, a := range c.After {
			if !before[a] {
				t.Errorf("%s waits for %s, which does not come before it", c.Name, a)
			}
		}
		if before[c.Name] {
			t.Errorf("%s is there twice", c.Name)
		}
		before[c.Name] = true
	}
}
