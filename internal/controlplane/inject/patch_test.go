// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/protocol"
)

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func apply(t testing.TB, doc, ops []byte) []byte {
	t.Helper()
	if ops == nil {
		return doc
	}
	p, err := jsonpatch.DecodePatch(ops)
	if err != nil {
		t.Fatalf("%v: %s", err, ops)
	}
	out, err := p.Apply(doc)
	if err != nil {
		t.Fatalf("%v: %s\non %s", err, ops, doc)
	}
	return out
}

// applied proves that the patch made from one pod to another leads there.
func applied(t testing.TB, from, to *corev1.Pod) {
	t.Helper()
	ops, err := patch(from, to)
	if err != nil {
		t.Fatal(err)
	}
	var got corev1.Pod
	if err := json.Unmarshal(apply(t, marshal(t, from), ops), &got); err != nil {
		t.Fatal(err)
	}
	if want, got := marshal(t, to), marshal(t, got); !bytes.Equal(want, got) {
		t.Errorf("the patch leads elsewhere: %s", cmp.Diff(string(want), string(got)))
	}
}

// TestPatchKeepsUnknownFields: fields of a newer Kubernetes, unknown to the types compiled in here,
// survive in every place that injection touches.
func TestPatchKeepsUnknownFields(t *testing.T) {
	pod, ns, s := load(t, "probes")
	raw := map[string]any{}
	if err := json.Unmarshal(marshal(t, pod), &raw); err != nil {
		t.Fatal(err)
	}
	spec := raw["spec"].(map[string]any)
	first := spec["containers"].([]any)[0].(map[string]any)
	probe := first["readinessProbe"].(map[string]any)
	for _, o := range []map[string]any{raw["metadata"].(map[string]any), spec, first, probe} {
		o["fromTheFuture"] = "kept"
	}
	var typed corev1.Pod
	if err := json.Unmarshal(marshal(t, raw), &typed); err != nil {
		t.Fatal(err)
	}
	result, refusal := Pod(&typed, ns, s)
	if refusal != nil {
		t.Fatal(refusal.Message())
	}
	ops, err := patch(&typed, result.Pod)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(apply(t, marshal(t, raw), ops), &out); err != nil {
		t.Fatal(err)
	}
	spec = out["spec"].(map[string]any)
	first = spec["containers"].([]any)[0].(map[string]any)
	probe = first["readinessProbe"].(map[string]any)
	for where, o := range map[string]map[string]any{
		"metadata": out["metadata"].(map[string]any), "spec": spec, "container": first, "probe": probe,
	} {
		if o["fromTheFuture"] != "kept" {
			t.Errorf("%s lost a field", where)
		}
	}
	if got := probe["httpGet"].(map[string]any)["path"]; got != protocol.ProbePath(testToken, "http", "readiness") {
		t.Errorf("the probe asks %v", got)
	}
}

// TestPatchBetweenAnything: for random pairs of documents, patching one gives the other.
func TestPatchBetweenAnything(t *testing.T) {
	const seed = 7
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range 1000 {
		from, to := map[string]any{"root": value(r, 3)}, map[string]any{"root": value(r, 3)}
		ops, err := patch(from, to)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(to, normal(t, apply(t, marshal(t, from), ops))); d != "" {
			t.Fatalf("seed %d, pair %d: %s\nfrom %s\nops %s", seed, i, d, marshal(t, from), ops)
		}
	}
}

func normal(t testing.TB, b []byte) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// value draws a JSON value in which lists of named things are common.
func value(r *rand.Rand, depth int) any {
	if depth == 0 {
		return float64(r.IntN(3))
	}
	keys := []string{"name", "a/b", "c~d", "e"}
	switch r.IntN(3) {
	case 0:
		out := map[string]any{}
		for _, k := range keys {
			if r.IntN(2) == 0 {
				out[k] = value(r, depth-1)
			}
		}
		return out
	case 1:
		out := []any{}
		for range r.IntN(5) {
			switch r.IntN(3) {
			case 0:
				out = append(out, value(r, depth-1))
			default:
				out = append(out, map[string]any{"name": string(rune('a' + r.IntN(4))), "v": value(r, depth-1)})
			}
		}
		return out
	}
	return []any{nil, true, "x", 1.5}[r.IntN(4)]
}
