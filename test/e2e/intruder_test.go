// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/testing/cluster"
)

// intruder runs a pod that has its credentials in files and attacks the control plane. Its arguments are those of
// test/apps/intruder.
func intruder(t *testing.T, c *cluster.Cluster, ns, name string, args ...string) {
	t.Helper()
	list, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	c.MustApply(t, `
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  restartPolicy: Never
  containers:
  - name: intruder
    image: tulle.local/intruder:%[3]s
    imagePullPolicy: IfNotPresent
    args: %[4]s
    env: [{name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: POD_UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}]
    volumeMounts: [{name: tokens, mountPath: /tokens}, {name: trust, mountPath: /trust}]
  volumes:
  - name: tokens
    projected:
      sources:
      - serviceAccountToken: {path: mesh, audience: tulle.dev/cluster.local}
      - serviceAccountToken: {path: other, audience: elsewhere}
  - name: trust
    configMap: {name: tulle-trust}
`, name, ns, cluster.Tag(), string(list))
}

// intrusion waits for what an intruder writes when it has ended, as JSON.
func intrusion(t *testing.T, c *cluster.Cluster, ns, name string, within time.Duration) string {
	t.Helper()
	result := ""
	cluster.Eventually(t, within, "intruder "+name+" ends", func() error {
		p := &corev1.Pod{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, p); err != nil {
			return err
		}
		log := c.Logs(t.Context(), ns, name, "intruder", 0)
		at := strings.Index(log, "{")
		if at < 0 || !json.Valid([]byte(log[at:])) {
			return fmt.Errorf("phase %s, it says %q", p.Status.Phase, log)
		}
		result = log[at:]
		return nil
	})
	return result
}
