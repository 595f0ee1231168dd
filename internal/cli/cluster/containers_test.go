// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/internal/cli/facts"
)

// TestContainers: who a container may become, and which hooks of a pod anybody can run.
func TestContainers(t *testing.T) {
	const pod = `
spec:
  securityContext: {runAsUser: 1000}
  initContainers:
  - {name: tulle-proxy-a, restartPolicy: Always}
  - {name: sidecar, restartPolicy: Always, securityContext: {runAsUser: 0}}
  containers:
  - {name: pods-user}
  - {name: root-without, securityContext: {runAsUser: 0, capabilities: {drop: [ALL]}}}
  - {name: root-with, securityContext: {runAsUser: 0, capabilities: {drop: [ALL], add: [cap_net_raw]}}}
  - {name: root-less, securityContext: {runAsUser: 0, capabilities: {drop: [NET_RAW]}}}
  - {name: root-least, securityContext: {runAsUser: 0, capabilities: {drop: [NET_RAW, CAP_SETUID]}}}
  - name: hooks
    lifecycle:
      postStart: {httpGet: {port: 15020, path: /probe/000102030405060708090a0b0c0d0e0f/hooks/postStart}}
      preStop: {httpGet: {port: 15020, path: /probe/hooks/preStop}}
  - name: own-hooks
    lifecycle:
      postStart: {httpGet: {port: 8080, path: /probe/hooks/postStart}}
      preStop: {sleep: {seconds: 5}}
  ephemeralContainers: [{name: debugger}]
status:
  ephemeralContainerStatuses: [{name: debugger, state: {running: {}}, user: {linux: {uid: 1337}}}]
`
	const images = `
spec:
  containers:
  - {name: image}
  - {name: proxy}
  - {name: root}
  - {name: other, securityContext: {runAsNonRoot: false}}
  - {name: non-root, securityContext: {runAsNonRoot: true}}
  - {name: ended}
status:
  containerStatuses:
  - {name: proxy, state: {running: {}}, user: {linux: {uid: 1337}}}
  - {name: root, state: {running: {}}, user: {linux: {uid: 0}}}
  - {name: other, state: {running: {}}, user: {linux: {uid: 65532}}}
  - {name: ended, state: {terminated: {exitCode: 0}}, user: {linux: {uid: 1337}}}
`
	for text, want := range map[string][]facts.Container{
		pod: {
			{Name: "sidecar", User: -1, BecomesAnyUser: true},
			{Name: "pods-user", User: -1},
			{Name: "root-without", User: -1},
			{Name: "root-with", User: -1, BecomesAnyUser: true},
			{Name: "root-less", User: -1, BecomesAnyUser: true},
			{Name: "root-least", User: -1},
			{Name: "hooks", User: -1, OpenHooks: []string{"preStop"}},
			{Name: "own-hooks", User: -1},
			{Name: "debugger", User: 1337},
		},
		images: {
			{Name: "image", User: -1, BecomesAnyUser: true},
			{Name: "proxy", User: 1337},
			{Name: "root", User: 0, BecomesAnyUser: true},
			{Name: "other", User: 65532},
			{Name: "non-root", User: -1},
			{Name: "ended", User: -1, BecomesAnyUser: true},
		},
	} {
		p := new(corev1.Pod)
		if err := yaml.UnmarshalStrict([]byte(text), p); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, containersOf(p)); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
}
