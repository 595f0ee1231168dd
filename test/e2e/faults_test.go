// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// fault is a release that an upgrade must not get past. Its images are built by hack/images.
type fault struct {
	name, version string
	// says are words of which the reason has one.
	says []string
	// fails is how large a share of the requests to a proxy of the release may fail, cut how many more:
	// those under way when its Envoy ends. slowdown is the gate's; 0: as in hasty.
	fails    float64
	cut      int
	slowdown int32
}

// workers is how many requests the load has under way at most.
const workers = 16

func faults() []fault {
	all := []fault{
		{name: "a fifth of the requests fails", version: "0.3.5", says: []string{"% of"}, fails: 0.2},
		{name: "Envoy refuses the configuration", version: "0.3.4", says: []string{"same matching rules"}},
		{name: "Envoy crashes", version: "0.3.3", says: []string{"ended by itself", "did not get ready"}, cut: workers},
		{name: "each request waits", version: "0.3.6", says: []string{" ms in the replaced proxies"}, slowdown: 100},
	}
	if !full() {
		return all[:1]
	}
	return all
}

// TestFaultyReleases: a release whose proxies do harm, or no good, gets no further than the first wave,
// and is rolled back by itself. Of the requests, only such as went to the first wave's pod fail.
func TestFaultyReleases(t *testing.T) {
	c := cluster.Connect(t)
	c.Mesh(t, meshName())
	withReleases(t, c)
	ns := c.Namespace(t, "faults", meshed)
	const replicas = 4 // of which the first wave has one
	c.Deploy(t, ns, cluster.Echo{Name: "server", Replicas: replicas})
	c.Ready(t, ns, "server")
	run := c.Load(t, ns, true, "-url", "http://server/", "-method", "POST", "-rate", "100", "-duration", "60m", "-workers", strconv.Itoa(workers))
	run.Sent(t, 500)
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			edit(t, c, func(m *v1alpha1.Mesh) {
				hasty(m)
				m.Spec.Upgrade.Soak = metav1.Duration{Duration: 20 * time.Second}
				if f.slowdown > 0 {
					m.Spec.Upgrade.Gates.MaxSlowdownPercent = &f.slowdown
				}
			})
			pods := bystanders(t, c, ns)
			before, _ := run.Progress(t.Context())
			edit(t, c, func(m *v1alpha1.Mesh) { m.Spec.Version = f.version })
			m := upgraded(t, c, f.version, v1alpha1.PhaseRolledBack, 10*time.Minute)
			after, _ := run.Progress(t.Context())

			up := apimeta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionUpgraded)
			if up == nil || up.Status != metav1.ConditionFalse || up.Reason != v1alpha1.ReasonRolledBack || !mentions(f.says, up.Message) {
				t.Errorf("condition Upgraded: %+v, want a reason with one of %q", up, f.says)
			}
			if u := m.Status.Upgrade; u.Wave != 1 || u.Replaced != 0 || !mentions(f.says, u.Message) {
				t.Errorf("the upgrade: %+v", u)
			}
			now := bystanders(t, c, ns)
			carry(t, c, now, newer)
			unmoved(t, pods, now)

			sent, failed := after.Sent-before.Sent, after.Failed-before.Failed
			t.Logf("%d of %d requests failed (%v), slowest %v", failed, sent, after.Failures, after.Max)
			// Half as many again, because the pods' shares are not equal at all times.
			if most := 1.5*f.fails/replicas*float64(sent) + float64(f.cut); float64(failed) > most {
				t.Errorf("%d of %d requests failed, at most %.0f may: %v", failed, sent, most, after.Failures)
			}
			if f.fails > 0 && failed == 0 {
				t.Error("no request failed: is the release as bad as it should be?")
			}
			edit(t, c, func(m *v1alpha1.Mesh) { m.Spec.Version = newer })
			upgradeOver(t, c)
		})
	}
}

// TestCutConnectionsShow is the proof that TestUpgrade can fail: from a release whose slots cut their
// connections when they leave, an upgrade does not go unnoticed.
func TestCutConnectionsShow(t *testing.T) {
	c := cluster.Connect(t)
	c.Mesh(t, meshName())
	withReleases(t, c)
	ns := c.Namespace(t, "cut", meshed)
	deployFleet(t, c, ns)
	edit(t, c, hasty)
	edit(t, c, func(m *v1alpha1.Mesh) { m.Spec.Version = "0.3.7" })
	upgraded(t, c, "0.3.7", v1alpha1.PhaseCompleted, 10*time.Minute)
	runs := loads(t, c, ns)
	sending(t, runs)
	edit(t, c, func(m *v1alpha1.Mesh) { m.Spec.Version = newer })
	upgraded(t, c, newer, v1alpha1.PhaseCompleted, 10*time.Minute)
	for _, held := range []string{"held, TCP", "held, gRPC"} {
		if s, _ := runs[held].Progress(t.Context()); s.Failed == 0 {
			t.Errorf("%s: none of %d failed", held, s.Sent)
		}
	}
}

// mentions tells whether a message has one of the words.
func mentions(words []string, message string) bool {
	for _, w := range words {
		if strings.Contains(message, w) {
			return true
		}
	}
	return false
}

// withReleases tells the operator of bad releases, and undoes that at the end. Those from 0.3.3 on are
// hack/images's with faults.
func withReleases(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	var made []string
	for _, version := range []string{"0.3.1", "0.3.2", "0.3.3", "0.3.4", "0.3.5", "0.3.6", "0.3.7"} {
		revision := names.RevisionOf(version)
		made = append(made, "tulle-controlplane-"+revision, "tulle-controlplane-"+revision+"-gateway-secrets")
	}
	c.MustApply(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: e2e-more-releases}
rules:
- {apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles, clusterrolebindings], resourceNames: [%[1]s], verbs: [get, patch, delete]}
- {apiGroups: [admissionregistration.k8s.io], resources: [mutatingwebhookconfigurations], resourceNames: [%[1]s], verbs: [get, patch, delete]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: e2e-more-releases}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: e2e-more-releases}
subjects: [{kind: ServiceAccount, name: tulle-operator, namespace: tulle-system}]
`, strings.Join(made, ", "))
	tellReleases(t, c, fmt.Sprintf(`
- {version: 0.3.1, image: "tulle.local/tulle:%[1]s", proxyImage: "tulle.local/tulle-proxy:nowhere", envoy: 1.40.0}
- {version: 0.3.2, image: "tulle.local/tulle:%[1]s", proxyImage: "tulle.local/tulle-proxy:0.2.0", envoy: 1.40.0}
- {version: 0.3.3, image: "tulle.local/tulle:0.3.3", proxyImage: "tulle.local/tulle-proxy:0.3.3", envoy: 1.40.0}
- {version: 0.3.4, image: "tulle.local/tulle:0.3.4", proxyImage: "tulle.local/tulle-proxy:0.3.4", envoy: 1.40.0}
- {version: 0.3.5, image: "tulle.local/tulle:0.3.5", proxyImage: "tulle.local/tulle-proxy:0.3.5", envoy: 1.40.0}
- {version: 0.3.6, image: "tulle.local/tulle:0.3.6", proxyImage: "tulle.local/tulle-proxy:0.3.6", envoy: 1.40.0}
- {version: 0.3.7, image: "tulle.local/tulle:0.3.7", proxyImage: "tulle.local/tulle-proxy:0.3.7", envoy: 1.40.0}
`, cluster.Tag()))
}

// tellReleases gives the operator a file of releases, until the test ends.
func tellReleases(t *testing.T, c *cluster.Cluster, file string) {
	t.Helper()
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: names.SystemNamespace, Name: "tulle-releases"},
		Data:       map[string]string{"releases.yaml": file},
	}
	if err := c.Create(t.Context(), cm); err != nil {
		t.Fatal(err)
	}
	restartOperator(t, c)
	t.Cleanup(func() {
		if err := c.Delete(context.WithoutCancel(t.Context()), cm); err != nil {
			t.Error(err)
		}
		restartOperator(t, c)
	})
}
