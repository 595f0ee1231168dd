// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/names"
)

// TestAsRecorded: a control plane and a Gateway of release 0.2.0 are rendered as the operator of 0.2.0 rendered
// them, but for what later explains. The files are that release's golden files, and never change.
func TestAsRecorded(t *testing.T) {
	const dir = "recorded/0.2.0"
	cases, err := os.ReadDir(dir)
	if err != nil || len(cases) < 8 {
		t.Fatal(len(cases), err)
	}
	for _, c := range cases {
		t.Run(c.Name(), func(t *testing.T) {
			file := func(name string) []byte {
				text, err := os.ReadFile(filepath.Join(dir, c.Name(), name))
				if err != nil {
					t.Fatal(err)
				}
				return text
			}
			in, gw := read(t, file("in.yaml"))
			r, ok := release.Known("registry.example/tulle:1", "registry.example/tulle-proxy:1").Find("0.2.0")
			if !ok {
				t.Fatal("0.2.0 is not known")
			}
			r.Image, r.ProxyImage = "registry.example/tulle:1", "registry.example/tulle-proxy:1"
			in.Release, in.References = r, false
			// 0.2.0's control plane is not ready without the right to read Secrets, whether one is referred to or not.
			var objects []Object
			if gw == nil {
				objects = append(ControlPlane(in), Service(in), Replicas(in), Webhook(in), GatewayClass(in))
			} else {
				objects = gatewayOf(in, gw)
			}
			want := map[string]any{}
			for _, doc := range bytes.Split(file("out.yaml"), []byte("\n---\n")) {
				var o unstructured.Unstructured
				if err := yaml.Unmarshal(doc, &o.Object); err != nil {
					t.Fatal(err)
				}
				want[o.GetKind()+" "+o.GetName()] = o.Object
			}
			for _, o := range objects {
				got := map[string]any{}
				if err := yaml.Unmarshal(text(t, []Object{o})[4:], &got); err != nil {
					t.Fatal(err)
				}
				later(t, o.GetKind(), got)
				if d := cmp.Diff(want[o.GetKind()+" "+o.GetName()], any(got)); d != "" {
					t.Errorf("%s %s (-0.2.0 +now):\n%s", o.GetKind(), o.GetName(), d)
				}
				delete(want, o.GetKind()+" "+o.GetName())
			}
			for name := range want {
				// What does not depend on the release is not rendered here.
				if kind, _, _ := strings.Cut(name, " "); !slices.Contains([]string{"Certificate", "ConfigMap", "Issuer", "XMesh"}, kind) {
					t.Errorf("%s is missing", name)
				}
			}
		})
	}
}

// later takes out of a rendered object what later operators add to it, or put in the place of something else.
// Each is found exactly once, so that none of these outlives its reason.
func later(t *testing.T, kind string, o map[string]any) {
	t.Helper()
	without := func(in map[string]any, list, what string, is func(map[string]any) bool) {
		t.Helper()
		was := in[list].([]any)
		rest := slices.DeleteFunc(slices.Clone(was), func(x any) bool { return is(x.(map[string]any)) })
		if len(rest) != len(was)-1 {
			t.Errorf("%s: %d of %s", kind, len(was)-len(rest), what)
		}
		in[list] = rest
	}
	about := func(resource string) func(map[string]any) bool {
		return func(rule map[string]any) bool { return cmp.Equal(rule["resources"], []any{resource}) }
	}
	switch kind {
	case "ClusterRole":
		// 0.2.0 does not read Nodes. Rights that it does not use do it no harm.
		without(o, "rules", "the rule about nodes", about("nodes"))
	case "Role":
		// 0.2.0 had all rights on all Leases of the namespace. It creates, reads and updates the one that it uses.
		without(o, "rules", "the rule about one Lease", func(rule map[string]any) bool {
			return about("leases")(rule) && cmp.Equal(rule["resourceNames"], []any{"tulle-controlplane"}) && cmp.Equal(rule["verbs"], []any{"get", "update"})
		})
		rule := o["rules"].([]any)[0].(map[string]any)
		if !cmp.Equal(rule["verbs"], []any{"create"}) {
			t.Errorf("the rule about all Leases: %v", rule)
		}
		rule["verbs"] = []any{"create", "get", "list", "patch", "update", "watch"}
	case "Service":
		// Kubernetes lists the port of no pod that does not name it, and 0.2.0's do not.
		if ports := o["spec"].(map[string]any)["ports"].([]any); len(ports) == 2 {
			without(o["spec"].(map[string]any), "ports", "the internal port", func(p map[string]any) bool { return p["name"] == names.InternalPortName })
		}
	}
}
