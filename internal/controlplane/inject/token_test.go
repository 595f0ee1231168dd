// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// pathsOf are the paths that the agent of a pod answers, and those that the kubelet asks it for.
func pathsOf(t *testing.T, pod *corev1.Pod) (recorded, asked []string) {
	t.Helper()
	if text := environment(t, pod, names.ContainerSlotA, protocol.EnvProbes); text != "" {
		var p protocol.Probes
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		for path := range p {
			recorded = append(recorded, path)
		}
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			for _, a := range aims(&list[i]) {
				if a.moved() {
					asked = append(asked, a.http.Path)
				}
			}
		}
	}
	slices.Sort(recorded)
	slices.Sort(asked)
	return recorded, asked
}

// TestNoGuessablePath: the agent of a pod that this release injects answers only paths with the token, also if
// the pod is a copy of one that an earlier release injected.
func TestNoGuessablePath(t *testing.T) {
	seen := 0
	check := func(t *testing.T, pod *corev1.Pod) {
		t.Helper()
		recorded, asked := pathsOf(t, pod)
		if !slices.Equal(recorded, asked) {
			t.Errorf("the agent answers %q, the kubelet asks for %q", recorded, asked)
		}
		for _, path := range recorded {
			seen++
			if protocol.ProbeToken(path) != testToken {
				t.Errorf("%s has no token", path)
			}
		}
	}
	for _, pattern := range []string{"testdata/*", "recorded/*/*"} {
		dirs, err := filepath.Glob(pattern + "/out.yaml")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range dirs {
			was, pod, ns, s := recordedPod(t, filepath.Dir(file))
			for _, p := range []*corev1.Pod{was, pod} {
				if p == nil {
					continue
				}
				if r, refusal := Pod(p, ns, s); refusal == nil && r.Pod != nil && !r.Removed {
					check(t, r.Pod)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d paths were seen", seen)
	}
}

const probedPod = `{"metadata":{"generateName":"web-"},"spec":{"containers":[{"name":"app","image":"i",
	"livenessProbe":{"httpGet":{"path":"/live","port":8080}},"lifecycle":{"preStop":{"httpGet":{"path":"/stop","port":8080}}}}]}}`

// TestTokenOfEachPod: every pod gets a token of its own. When the API server asks again about the same pod, it
// keeps the one it has.
func TestTokenOfEachPod(t *testing.T) {
	h := handler(t, nil)
	inject := func(raw []byte) (*corev1.Pod, []byte) {
		answer := ask(t, h, request(string(raw)))
		if !answer.Allowed {
			t.Fatal(answer.Result.Message)
		}
		if answer.Patch != nil {
			p, err := jsonpatch.DecodePatch(answer.Patch)
			if err == nil {
				raw, err = p.Apply(raw)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		pod := new(corev1.Pod)
		if err := json.Unmarshal(raw, pod); err != nil {
			t.Fatal(err)
		}
		return pod, raw
	}
	// The handler of the tests has a fixed token in its settings; it must not be used.
	seen := map[string]bool{testToken: true}
	for range 20 {
		pod, raw := inject([]byte(probedPod))
		recorded, _ := pathsOf(t, pod)
		if len(recorded) != 2 || !protocol.ValidProbeToken(protocol.ProbeToken(recorded[0])) {
			t.Fatalf("the agent answers %q", recorded)
		}
		if token := protocol.ProbeToken(recorded[0]); seen[token] {
			t.Fatalf("two pods have the token %s", token)
		} else {
			seen[token] = true
		}
		if again, _ := inject(raw); !reflect.DeepEqual(pod, again) {
			t.Error("a second review changes the pod")
		}
	}
}

// TestNoToken: without a token no pod is injected, rather than one with paths that can be guessed.
func TestNoToken(t *testing.T) {
	pod, ns, s := load(t, "probes")
	for _, token := range []string{"", "00", testToken + "0", "000102030405060708090A0B0C0D0E0F", "000102030405060708090a0b0c0d0e0/"} {
		s.ProbeToken = token
		if _, refusal := Pod(pod, ns, s); refusal == nil {
			t.Errorf("%q is taken for a token", token)
		}
	}
}
