// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// TestNoPlaintext: what meshed pods say to each other can't be read on the way. The same capture must
// find the same marker when the caller has no proxy, or it would prove nothing.
func TestNoPlaintext(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "capture", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server"})
	c.Ready(t, ns, "server")
	for _, k := range []struct {
		meshed bool
		marker string
	}{{false, "marker-of-a-pod-without-proxy"}, {true, "marker-of-a-pod-with-a-proxy"}} {
		found := capture(t, c, k.marker, func() {
			noFailure(t, c.Load(t, ns, k.meshed, "-url", "http://server/", "-count", "200", "-method", "POST", "-header", "X-Marker: "+k.marker).Wait(t, time.Minute), 200)
		})
		if k.meshed && found > 0 || !k.meshed && found == 0 {
			t.Errorf("caller with a proxy: %v, packets with the marker: %d", k.meshed, found)
		}
	}
}

// capture listens on the node, on every interface, while f runs, and returns how many packets held the marker.
func capture(t *testing.T, c *cluster.Cluster, marker string, f func()) int {
	t.Helper()
	ns := c.Namespace(t, "listener", "pod-security.kubernetes.io/enforce=privileged")
	c.MustApply(t, `
apiVersion: v1
kind: Pod
metadata: {name: capture, namespace: %s, labels: {tulle.dev/inject: disabled}}
spec:
  hostNetwork: true
  restartPolicy: Never
  containers:
  - name: capture
    image: tulle.local/capture:%s
    imagePullPolicy: IfNotPresent
    args: [-marker, %q, -duration, 25s]
    securityContext: {runAsUser: 0, runAsNonRoot: false, capabilities: {add: [NET_RAW, NET_ADMIN]}}
`, ns, cluster.Tag(), marker)
	says := func(want string) string {
		log := ""
		cluster.Eventually(t, time.Minute, "capture says "+want, func() error {
			log = c.Logs(t.Context(), ns, "capture", "capture", 0)
			if !strings.Contains(log, want) {
				return fmt.Errorf("it says %q", log)
			}
			return nil
		})
		return log
	}
	says("listening")
	f()
	var packets, size, found int
	log := says("found")
	if _, err := fmt.Sscanf(log[strings.Index(log, "packets"):], "packets %d bytes %d found %d", &packets, &size, &found); err != nil {
		t.Fatalf("read %q: %v", log, err)
	}
	if packets < 100 {
		t.Errorf("only %d packets were seen", packets)
	}
	t.Logf("%q: %d of %d packets", marker, found, packets)
	return found
}

// TestIntruder: a meshed pod with valid credentials that asks for everything gets only its own.
func TestIntruder(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "intruder", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "victim"})
	c.Ready(t, ns, "victim")
	victim := c.Pods(t, ns, "app=victim")[0]
	seconds := int64(600)
	stolen, err := c.Kube.CoreV1().ServiceAccounts(ns).CreateToken(t.Context(), "victim", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{names.TokenAudience("cluster.local")}, ExpirationSeconds: &seconds,
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: victim.Name, UID: victim.UID},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	intruder(t, c, ns, "intruder", "-stolen", stolen.Status.Token, "-stolen-pod", victim.Name, "-stolen-uid", string(victim.UID), "-names", strings.Join([]string{
		"scope=" + names.ScopeSidecar(ns, "intruder"),
		"scope=" + names.ScopeSidecar(ns, victim.Name),
		"listener=" + names.Inbound(ns, victim.Name),
		"listener=*",
		"scope=" + names.ScopeGateway(ns, "front"),
		"secret=" + names.GatewayTLS(ns, "front", ns, "cert"),
		"secret=" + names.SAN(ns, "victim"),
	}, ","))
	var got map[string]string
	if err := json.Unmarshal([]byte(intrusion(t, c, ns, "intruder", 2*time.Minute)), &got); err != nil {
		t.Fatal(err)
	}
	for attempt, want := range map[string]string{
		"sign: own":                                                "200",
		"sign: no token":                                           "401",
		"sign: forged token":                                       "401",
		"sign: token of another audience":                          "401",
		"sign: own token for another pod":                          "403",
		"sign: stolen token for its pod":                           "403",
		"sign: stolen token for own pod":                           "403",
		"sign: malformed CSR":                                      "400",
		"sign: not JSON":                                           "400",
		"sign: oversized":                                          "400",
		"identity":                                                 spiffe(ns, "default"),
		"ads: no certificate":                                      "refused",
		"ads: garbage":                                             "refused",
		"ads: scope=" + names.ScopeSidecar(ns, "intruder"):         "got",
		"ads: scope=" + names.ScopeSidecar(ns, victim.Name):        "removed",
		"ads: listener=" + names.Inbound(ns, victim.Name):          "removed",
		"ads: scope=" + names.ScopeGateway(ns, "front"):            "removed",
		"ads: secret=" + names.GatewayTLS(ns, "front", ns, "cert"): "removed",
		"ads: secret=" + names.SAN(ns, "victim"):                   "got",
	} {
		if !strings.HasPrefix(got[attempt], want) {
			t.Errorf("%s: %q, want %q", attempt, got[attempt], want)
		}
	}
	if w := got["ads: listener=*"]; w == "got" || strings.Contains(w, "neither") {
		t.Errorf("a wildcard was answered with %q", w)
	}
}
