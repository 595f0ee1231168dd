// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/internal/controlplane/inject"
	"tulle.dev/tulle/internal/names"
)

func options() Options {
	return Options{
		Settings:  inject.Settings{Image: "proxy:1", Version: "1", Revision: "1", SystemNamespace: "tulle-system", TrustDomain: "cluster.local"},
		Namespace: "shop",
		Labels: func(ns string) (map[string]string, error) {
			if ns == "nowhere" {
				return nil, errors.New("not found")
			}
			return map[string]string{names.LabelInject: names.InjectEnabled}, nil
		},
	}
}

// foreign are documents that hold no pod, or none that can be read. Each must come out as it is.
var foreign = map[string]string{
	"a comment":                 "# only a comment\n",
	"nothing":                   "",
	"a scalar":                  "hello\n",
	"not an object":             "- a\n- b\n",
	"values of a chart":         "kind: Pod\nreplicas:   3   # three\n",
	"a template of a chart":     "apiVersion: v1\nkind: Pod\nmetadata: {name: {{ .Values.name }}}\n",
	"broken":                    "kind: [\n",
	"a key twice":               "apiVersion: v1\nkind: Pod\nkind: Pod\n",
	"a ConfigMap":               "apiVersion: v1\nkind: ConfigMap\nmetadata: {name:   c}\ndata:\n  a: |\n    one\n     two # no comment\n  n: 1e3\n",
	"a Deployment of others":    "apiVersion: example.com/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {image:   x}\n",
	"a Job of others":           "apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nmetadata: {name: j}\nspec: {tasks: [{template: {spec: {containers: [{name: a, image: a}]}}}]}\n",
	"a StatefulSet of others":   "apiVersion: apps.kruise.io/v1beta1\nkind: StatefulSet\nmetadata: {name: s}\nspec: {template: {spec: {containers: [{name:   a, image: a}]}}}\n",
	"a Pod of others":           "apiVersion: example.com/v1\nkind: Pod\nspec: {containers: none}\n",
	"a Namespace of others":     "apiVersion: example.com/v1\nkind: Namespace\nmetadata: {name: shop, labels: {tulle.dev/inject: disabled}}\n",
	"a list of others":          "apiVersion: example.com/v1\nkind: RouteList\nitems: [{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: a}]}}]\n",
	"an object with items":      "apiVersion: example.com/v1\nkind: Basket\nitems: [1, 2]\n",
	"a list of nothing":         "apiVersion: v1\nkind: List\nitems: [null, 3, {a: b}]\n",
	"no template":               "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {replicas: 3}\n",
	"a template that is a text": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {template: later}\n",
	"containers that are a map": "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: {a: b}}\n",
	"an unknown namespace":      "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: nowhere}\nspec: {containers: [{name: a, image: a}]}\n",
	"refused":                   "apiVersion: v1\nkind: Pod\nmetadata: {name: p, annotations: {tulle.dev/proxy-image: mine}}\nspec:   {containers: [{name: a, image: a}]}\n",
	"opted out":                 "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {tulle.dev/inject: disabled}}\nspec:   {containers: [{name: a, image: a}]}\n",
	"Windows' line ends":        "apiVersion: v1\r\nkind: ConfigMap\r\nmetadata: {name: c}\r\n",
	"directives":                "%YAML 1.1\n",
}

const web = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    spec:\n      containers: [{name: a, image: a, fromTheFuture: {x: 1}}]\n      futureField: kept\n"

// TestForeign: a document without a pod for the webhook comes out byte for byte, alone and between others
// that are injected all the same.
func TestForeign(t *testing.T) {
	for name, text := range foreign {
		t.Run(name, func(t *testing.T) {
			out, _ := File([]byte(text), options())
			if string(out) != text {
				t.Errorf("%q became %q", text, out)
			}
			if _, notes := File([]byte(text), options()); strings.HasSuffix(name, "of others") && len(notes) > 0 {
				t.Errorf("an object of another group is taken for one with a pod: %+v", notes)
			}
			between := "---\n" + web + "--- # next\n" + text + "---\n" + web
			out, notes := File([]byte(between), options())
			if !strings.Contains(string(out), "--- # next\n"+text+"---\n") {
				t.Errorf("it is not in the output as it was:\n%s", out)
			}
			if n := strings.Count(string(out), "name: tulle-proxy-a"); n != 2 {
				t.Errorf("%d of 2 others are injected: %+v", n, notes)
			}
			if n := strings.Count(string(out), "fromTheFuture:") + strings.Count(string(out), "futureField: kept"); n != 4 {
				t.Errorf("fields of a newer Kubernetes are lost:\n%s", out)
			}
		})
	}
}

// TestNotes: what can't be looked at is reported with its place.
func TestNotes(t *testing.T) {
	for name, want := range map[string]string{
		"broken":                    "document 2 (line 9): read YAML: ",
		"no template":               "Deployment shop/d: it has no pod template at spec.template",
		"a template that is a text": "Deployment shop/d: it has no pod template at spec.template",
		"containers that are a map": "Pod shop/p: read its pod: ",
		"an unknown namespace":      "Pod nowhere/p: read namespace nowhere: not found",
	} {
		_, notes := File([]byte(web+"---\n"+foreign[name]), options())
		if len(notes) != 2 || !strings.HasPrefix(notes[1].Object+": "+notes[1].Problem, want) {
			t.Errorf("%s: %+v, want %q", name, notes, want)
		}
	}
}

const list = `apiVersion: v1
kind: List
metadata: {}   # nothing
items:
  # the settings
  - apiVersion: v1
    kind: ConfigMap
    metadata: {name:  c}

  # the pod
  - apiVersion: v1
    kind: Pod
    metadata: {name: p}
    spec: {containers: [{name: a, image: a}]}
  # the last
  - {apiVersion: v1, kind: Service, metadata: {name:  s}}
`

// TestLists: a list stays a list, and its other items what they were.
func TestLists(t *testing.T) {
	out, notes := File([]byte(list), options())
	if len(notes) != 1 || !notes[0].Injected {
		t.Fatalf("%+v", notes)
	}
	for _, part := range []string{list[:strings.Index(list, "  - apiVersion: v1\n    kind: Pod")], list[strings.Index(list, "  # the last"):]} {
		if !strings.Contains(string(out), part) {
			t.Errorf("no\n%s in\n%s", part, out)
		}
	}
	same(t, out, list, 1)
	again, _ := File(out, options())
	if d := cmp.Diff(string(out), string(again)); d != "" {
		t.Errorf("a second injection changes it: %s", d)
	}

	// In flow style, or as JSON, it is written anew, with the same meaning.
	asJSON, err := yaml.YAMLToJSON([]byte(list))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(asJSON), "# flow\n" + string(asJSON)} {
		out, _ = File([]byte(text), options())
		same(t, out, list, 1)
	}
	// What is named in one item and used in another stays whole.
	anchors := "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: p, labels: &l {a: b}}\n  spec: {containers: [{name: a, image: a}]}\n" +
		"- {apiVersion: v1, kind: Service, metadata: {name: s, labels: *l}}\n"
	out, _ = File([]byte(anchors), options())
	same(t, out, anchors, 0)
	// The items of a typed list need not name their kind.
	out, notes = File([]byte("apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: p}\n  spec: {containers: [{name: a, image: a}]}\n"), options())
	if len(notes) != 1 || !notes[0].Injected || !strings.Contains(string(out), "tulle-proxy-a") {
		t.Errorf("%+v\n%s", notes, out)
	}
}

// same compares a list but for its pod with what it was.
func same(t *testing.T, out []byte, was string, pod int) {
	t.Helper()
	var before, after struct{ Items []map[string]any }
	if err := yaml.Unmarshal([]byte(was), &before); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(out, &after); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(after.Items) != len(before.Items) {
		t.Fatalf("%d items\n%s", len(after.Items), out)
	}
	if !strings.Contains(fmt.Sprint(after.Items[pod]), "tulle-proxy-a") {
		t.Errorf("the pod is not injected: %v", after.Items[pod])
	}
	before.Items[pod], after.Items[pod] = nil, nil
	if d := cmp.Diff(before, after); d != "" {
		t.Error(d)
	}
}

// TestJSON: objects in JSON, one after the other, stay JSON.
func TestJSON(t *testing.T) {
	in := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name": "c"}}
{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"a","image":"a"}]}}
{"apiVersion":"example.com/v1","kind":"Pod"}
`
	out, notes := File([]byte(in), options())
	if len(notes) != 1 || !notes[0].Injected || !strings.HasPrefix(string(out), in[:60]) || !strings.HasSuffix(string(out), in[len(in)-45:]) {
		t.Fatalf("%+v\n%s", notes, out)
	}
	d := json.NewDecoder(strings.NewReader(string(out)))
	n := 0
	for d.More() {
		var x map[string]any
		if err := d.Decode(&x); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d objects", n)
	}
}
