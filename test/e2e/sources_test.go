// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// foreign are Services of one namespace whose EndpointSlices name a pod of another, with a protocol of their own.
const foreign = `
apiVersion: v1
kind: Service
metadata: {name: x, namespace: %[1]s}
spec: {ports: [{name: p, port: 80, targetPort: 8080, appProtocol: kubernetes.io/h2c}]}
---
apiVersion: v1
kind: Service
metadata: {name: heads, namespace: %[1]s}
spec: {clusterIP: None, ports: [{name: p, port: 8080, appProtocol: kubernetes.io/h2c}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: x-1, namespace: %[1]s, labels: {kubernetes.io/service-name: x}}
addressType: IPv4
ports: [{name: p, port: 8080}]
endpoints: [{addresses: ["%[4]s"], conditions: {ready: true}, targetRef: {kind: Pod, namespace: %[2]s, name: %[3]s}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: heads-1, namespace: %[1]s, labels: {kubernetes.io/service-name: heads}}
addressType: IPv4
ports: [{name: p, port: 8080}]
endpoints: [{addresses: ["%[4]s"], conditions: {ready: true}, targetRef: {kind: Pod, namespace: %[2]s, name: %[3]s}}]
`

// TestForeignEndpointSlice: an EndpointSlice that names a pod of another namespace changes neither what that pod's
// port speaks nor who reaches it by its own address; clients of the slice's Service reach it as itself. The
// namespace sorts before the pod's, and is tried meshed and not.
func TestForeignEndpointSlice(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "sliced", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server"})
	c.Deploy(t, ns, cluster.Echo{Name: "client", NoService: true})
	c.Ready(t, ns, "server", "client")
	c.MustApply(t, `
apiVersion: v1
kind: Service
metadata: {name: own, namespace: %s}
spec: {clusterIP: None, selector: {app: server}, ports: [{name: http, port: 8080}]}
`, ns)
	pod, me := c.Pods(t, ns, "app=server")[0], podOf(t, c, ns, "client")
	try := func(when string) {
		for _, url := range []string{"http://server/", "http://" + pod.Status.PodIP + ":8080/"} {
			d := me.get(t, url)
			if d.Report.Caller != spiffe(ns, "client") || d.Report.Protocol != "HTTP/1.1" {
				t.Errorf("%s: %s was called by %q with %s", when, url, d.Report.Caller, d.Report.Protocol)
			}
		}
	}
	try("before")
	for _, labels := range [][]string{nil, {meshed}} {
		evil := c.Namespace(t, "aaa", labels...)
		c.MustApply(t, foreign, evil, ns, pod.Name, pod.Status.PodIP)
		// When its own clients have it, everybody has it. The cluster's own proxy may have it before.
		began := time.Now()
		for d := me.get(t, "http://x."+evil+"/"); d.Report.Caller != spiffe(ns, "client"); d = me.get(t, "http://x."+evil+"/") {
			if time.Since(began) > 10*time.Second {
				t.Fatalf("labels %v: by the other Service the caller is %q", labels, d.Report.Caller)
			}
		}
		t.Logf("labels %v: clients had the Service after %s", labels, time.Since(began))
		try(fmt.Sprintf("with the slices, labels %v", labels))
	}
}

// TestNamespaceLeaves: when a namespace no longer asks for proxies, calls to the meshed pods that still run there stay
// encrypted and known by their callers.
func TestNamespaceLeaves(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "leaving", meshed)
	other := c.Namespace(t, "staying", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server"})
	c.Deploy(t, other, cluster.Echo{Name: "client", NoService: true})
	c.Ready(t, ns, "server")
	c.Ready(t, other, "client")
	me := podOf(t, c, other, "client")
	me.get(t, "http://server."+ns+"/")
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:null}}}`, names.LabelInject)
	if err := c.Patch(t.Context(), space, client.RawPatch(types.MergePatchType, patch)); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < 10*time.Second; {
		if d := me.get(t, "http://server."+ns+"/"); d.Report.Caller != spiffe(other, "client") {
			t.Fatalf("%s after the label was removed the caller is %q", time.Since(began), d.Report.Caller)
		}
	}
}

// TestSecretsThatTakeLongToParse: Secrets with RSA numbers of 16,384 bits, which take seconds to parse, cost the
// control plane nothing, whether something refers to them or not, and a new replica is ready as ever. The API server
// parses each when it is written, which is why they are few.
func TestSecretsThatTakeLongToParse(t *testing.T) {
	c := cluster.Connect(t)
	ns := c.Namespace(t, "slow")
	replicas := func() []corev1.Pod {
		return c.Pods(t, names.SystemNamespace, names.LabelApp+"="+names.ControlPlaneService)
	}
	before := map[string]float64{}
	for _, p := range replicas() {
		before[p.Name] = cpuSeconds(t, c, p)
	}
	var all sync.WaitGroup
	failed := make([]error, 3)
	for i := range failed {
		all.Go(func() {
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprint("slow-", i)}, Type: corev1.SecretTypeTLS}
			s.Data = map[string][]byte{corev1.TLSCertKey: []byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"), corev1.TLSPrivateKeyKey: slowKey(t, 16384)}
			if err := c.Create(t.Context(), s); err != nil && !apierrors.IsAlreadyExists(err) {
				failed[i] = err
			}
		})
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		t.Fatal(err)
	}
	c.MustApply(t, `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: slow, namespace: %s}
spec:
  gatewayClassName: tulle
  listeners: [{name: https, protocol: HTTPS, port: 443, tls: {certificateRefs: [{name: slow-0}]}}]
`, ns)
	cluster.Eventually(t, time.Minute, "the listener says what is too large", func() error {
		gw := &gwapiv1.Gateway{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "slow"}, gw); err != nil {
			return err
		}
		if said := fmt.Sprint(gw.Status.Listeners); !strings.Contains(said, "16384 bits") {
			return fmt.Errorf("it says %s", said)
		}
		return nil
	})
	victim := replicas()[0]
	for _, p := range replicas() {
		if used := cpuSeconds(t, c, p) - before[p.Name]; used > 5 {
			t.Errorf("%s has used %.1f s of CPU meanwhile", p.Name, used)
		}
	}
	if err := c.Delete(t.Context(), &victim); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	cluster.Eventually(t, 2*time.Minute, "another replica is ready", func() error {
		ready := 0
		for _, p := range replicas() {
			for _, cond := range p.Status.Conditions {
				if cond.Type == corev1.PodReady && cond.Status == corev1.ConditionTrue && p.UID != victim.UID {
					ready++
				}
			}
		}
		if ready < len(before) {
			return fmt.Errorf("%d of %d are ready", ready, len(before))
		}
		return nil
	})
	if took := time.Since(began); took > 40*time.Second {
		t.Errorf("the new replica was ready after %s", took)
	}
}

// slowKey is an RSA key whose first prime has so many bits and is none.
func slowKey(t *testing.T, bits int) []byte {
	t.Helper()
	one, three := big.NewInt(1), big.NewInt(3)
	n := new(big.Int).Add(new(big.Int).Lsh(one, 64), one)
	p := new(big.Int).Add(new(big.Int).Lsh(one, uint(bits-1)), one)
	der, err := asn1.Marshal(struct {
		V       int
		N       *big.Int
		E       int
		D, P, Q *big.Int
	}{0, n, 65537, three, p, three})
	if err != nil {
		t.Error(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der})
}

// cpuSeconds is how much CPU a replica of the control plane has used since it started.
func cpuSeconds(t *testing.T, c *cluster.Cluster, p corev1.Pod) float64 {
	t.Helper()
	text, err := c.Kube.CoreV1().Pods(p.Namespace).ProxyGet("http", p.Name, strconv.Itoa(names.PortMonitor), "/metrics", nil).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "process_cpu_seconds_total "); ok {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return seconds
		}
	}
	t.Fatalf("%s does not say how much CPU it used", p.Name)
	return 0
}
