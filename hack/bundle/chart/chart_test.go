// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package chart

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/hack/bundle/source"
)

const repo = "../../.."

// TestSameAsKustomize: with its default values the chart is config/default,
// but for the namespace and the annotation that keeps the CRD.
func TestSameAsKustomize(t *testing.T) {
	all, err := source.Load(repo, "config/default")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]source.Object{}
	for _, o := range all {
		switch o.Kind() {
		case "Namespace":
			continue
		case "CustomResourceDefinition":
			o.Set("keep", "metadata", "annotations", keep)
		}
		want[o.Kind()+"/"+o.Name()] = o
	}
	if diff := cmp.Diff(want, render(t, "tulle-system", "")); diff != "" {
		t.Errorf("-config/default +chart:\n%s", diff)
	}
}

// TestValues: each value is heeded.
func TestValues(t *testing.T) {
	objects := render(t, "elsewhere", `
image: {repository: example.com/t, tag: "1"}
proxyImage: {repository: example.com/p, digest: "sha256:aa"}
moreRepositories: [example.com/q, example.com/r]
admissionAdds: ["env:A", "container:b"]
imagePullPolicy: Always
replicas: 2
resources: {requests: {cpu: 7m}, limits: null}
nodeSelector: {disk: fast}
tolerations: [{key: dedicated, operator: Exists}]
affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: []}}
topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]
priorityClassName: system-cluster-critical
crds: {install: false}
`)
	d := objects["Deployment/tulle-operator"]
	container := source.Object(d.List("spec", "template", "spec", "containers")[0].(map[string]any))
	pod := source.Object(d.Map("spec", "template", "spec"))
	env := map[string]any{}
	for _, e := range container.List("env") {
		e := e.(map[string]any)
		env[e["name"].(string)] = e["value"]
	}
	for what, c := range map[string]struct{ got, want any }{
		"namespace":   {d.Namespace(), "elsewhere"},
		"image":       {container.Text("image"), "example.com/t:1"},
		"its env":     {env["TULLE_IMAGE"], "example.com/t:1"},
		"proxy image": {env["TULLE_PROXY_IMAGE"], "example.com/p@sha256:aa"},
		"allowed images": {
			objects["ClusterRole/"+source.ImagesRole].Map("metadata", "annotations"), map[string]any{
				"tulle.dev/image": "example.com/t:1", "tulle.dev/proxy-image": "example.com/p@sha256:aa", "tulle.dev/more-repositories": "example.com/q example.com/r",
				"tulle.dev/admission-adds": "env:A container:b",
			},
		},
		"pull policy": {container.Text("imagePullPolicy"), "Always"},
		"replicas":    {d.At("spec", "replicas"), 2.0},
		"requests":    {container.At("resources", "requests"), map[string]any{"cpu": "7m", "memory": "48Mi"}},
		"selector":    {pod.At("nodeSelector"), map[string]any{"disk": "fast"}},
		"tolerations": {pod.At("tolerations"), []any{map[string]any{"key": "dedicated", "operator": "Exists"}}},
		"affinity":    {pod.At("affinity") != nil, true},
		"spread":      {len(pod.List("topologySpreadConstraints")), 1},
		"priority":    {pod.Text("priorityClassName"), "system-cluster-critical"},
		"subject": {
			objects["RoleBinding/tulle-operator"].List("subjects")[0].(map[string]any)["namespace"], "elsewhere",
		},
		"no CRD": {slices.ContainsFunc(slices.Collect(maps.Keys(objects)), func(k string) bool {
			return strings.HasPrefix(k, "CustomResourceDefinition/")
		}), false},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	for name, o := range objects {
		text, err := o.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("tulle-system")) {
			t.Errorf("%s names tulle-system in a release elsewhere:\n%s", name, text)
		}
	}
	// They name no namespace, and so hold the operator's account of any; see test/api TestFenceAnyNamespace.
	usual := render(t, "tulle-system", "")
	for fence, base := range usual {
		if !strings.HasPrefix(fence, "ValidatingAdmissionPolicy") {
			continue
		}
		moved := objects[fence]
		if diff := cmp.Diff(base, moved); diff != "" || moved == nil {
			t.Errorf("%s depends on the namespace:\n%s", fence, diff)
		}
	}
}

// TestNetworkPolicies: they are left out unless asked for, and then those of config/network-policies.
func TestNetworkPolicies(t *testing.T) {
	all, err := source.Load(repo, "config/network-policies")
	if err != nil {
		t.Fatal(err)
	}
	without, with := render(t, "tulle-system", ""), render(t, "tulle-system", "networkPolicies: {enabled: true}")
	for _, o := range all {
		if without["NetworkPolicy/"+o.Name()] != nil {
			t.Errorf("%s is installed without being asked for", o.Name())
		}
		if diff := cmp.Diff(o, with["NetworkPolicy/"+o.Name()]); diff != "" {
			t.Errorf("-config/network-policies +chart:\n%s", diff)
		}
	}
	if len(with) != len(without)+len(all) || len(all) != 3 {
		t.Errorf("%d objects without, %d with, %d policies", len(without), len(with), len(all))
	}
	if ns := render(t, "elsewhere", "networkPolicies: {enabled: true}")["NetworkPolicy/tulle-operator"].Namespace(); ns != "elsewhere" {
		t.Errorf("the operator's policy is in namespace %s", ns)
	}
}

// TestMoreEgress: the values add egress rules to the NetworkPolicies, and only there.
func TestMoreEgress(t *testing.T) {
	const rule = "[{ports: [{port: %d}]}]"
	plain := render(t, "tulle-system", "networkPolicies: {enabled: true}")
	with := render(t, "tulle-system", "networkPolicies: {enabled: true, operatorEgress: "+fmt.Sprintf(rule, 9090)+", controlPlaneEgress: "+fmt.Sprintf(rule, 7443)+"}")
	for name, port := range map[string]float64{"tulle-operator": 9090, "tulle-controlplane": 7443} {
		want := append([]any{map[string]any{"ports": []any{map[string]any{"port": port}}}}, plain["NetworkPolicy/"+name].List("spec", "egress")...)
		if diff := cmp.Diff(want, with["NetworkPolicy/"+name].List("spec", "egress")); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

// TestLint: Helm's own linter has nothing to say.
func TestLint(t *testing.T) {
	l := lint.RunAll(write(t), map[string]any{}, "tulle-system", lint.WithSkipSchemaValidation(false))
	for _, m := range l.Messages {
		if m.Severity > support.InfoSev {
			t.Error(m)
		}
	}
	if bad := lint.RunAll(t.TempDir(), nil, "x"); bad.HighestSeverity < support.ErrorSev {
		t.Error("the linter is content with an empty folder")
	}
}

func TestParseImage(t *testing.T) {
	for ref, want := range map[string]image{
		"a/b:1":                {repository: "a/b", tag: "1"},
		"host:5000/b:1":        {repository: "host:5000/b", tag: "1"},
		"host:5000/b@sha256:1": {repository: "host:5000/b", digest: "sha256:1"},
	} {
		got, err := parseImage(ref)
		if err != nil || got != want || got.String() != ref {
			t.Errorf("%s: %v, %v", ref, got, err)
		}
	}
	for _, ref := range []string{"a/b", "host:5000/b", ""} {
		if _, err := parseImage(ref); err == nil {
			t.Errorf("%q is taken", ref)
		}
	}
}

func write(t *testing.T) string {
	t.Helper()
	files, err := Generate(repo, source.Images{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := source.WriteTree(dir, nil, files); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, folder)
}

// render is what Helm's engine makes of the chart, by kind and name.
func render(t *testing.T, namespace, values string) map[string]source.Object {
	t.Helper()
	c, err := loader.Load(write(t))
	if err != nil {
		t.Fatal(err)
	}
	var set map[string]any
	if err := yaml.Unmarshal([]byte(values), &set); err != nil {
		t.Fatal(err)
	}
	all, err := util.ToRenderValues(c, set, common.ReleaseOptions{Name: "tulle", Namespace: namespace, IsInstall: true}, common.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	texts, err := engine.Render(c, all)
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]source.Object{}
	for name, text := range texts {
		if !strings.HasSuffix(name, ".yaml") || strings.TrimSpace(text) == "" {
			continue
		}
		var o source.Object
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		objects[o.Kind()+"/"+o.Name()] = o
	}
	return objects
}
