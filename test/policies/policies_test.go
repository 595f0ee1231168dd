// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package policies

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/names"
)

// shipped reads the policies; those for Gateways are put into the namespace infra.
func shipped(t *testing.T) []networkingv1.NetworkPolicy {
	t.Helper()
	var out []networkingv1.NetworkPolicy
	for _, f := range []string{"operator", "controlplane", "images", "gateways/gateways"} {
		p := read[networkingv1.NetworkPolicy](t, "config/network-policies/"+f+".yaml")
		if p.Namespace == "" {
			p.Namespace = "infra"
		}
		out = append(out, p)
	}
	return out
}

func read[T any](t *testing.T, file string) (out T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", file))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, &out); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return out
}

// podOf is a pod of a workload.
func podOf(namespace, node string, template corev1.PodTemplateSpec) peer {
	p := peer{namespace: namespace, labels: template.Labels, node: node, names: map[string]int32{}, nsLabel: map[string]string{corev1.LabelMetadataName: namespace}}
	for _, c := range template.Spec.Containers {
		for _, port := range c.Ports {
			p.names[port.Name] = port.ContainerPort
		}
	}
	return p
}

type cluster struct {
	operator, replica, replica2, images, gateway, sidecar, app, tenant, prometheus peer
	apiServer, client, ownNode, otherNode, dns                                     peer
}

func newCluster(t *testing.T) cluster {
	t.Helper()
	rel, _ := release.Known("a", "b").Find(release.Current)
	in := render.Input{
		Mesh: &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}, Spec: v1alpha1.MeshSpec{TrustDomain: "cluster.local"}}, Release: rel, Namespace: names.SystemNamespace,
	}
	template := func(list []render.Object, kind string) corev1.PodTemplateSpec {
		for _, o := range list {
			if o.GetKind() != kind {
				continue
			}
			var d appsv1.Deployment // a DaemonSet's template is in the same place
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
				t.Fatal(err)
			}
			return d.Spec.Template
		}
		t.Fatalf("no %s", kind)
		return corev1.PodTemplateSpec{}
	}
	gw := &gwapiv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "infra", Name: "edge"}}
	bare := func(namespace string, l map[string]string) peer {
		return peer{namespace: namespace, labels: l, nsLabel: map[string]string{corev1.LabelMetadataName: namespace}, node: "n2"}
	}
	outside := func(ip, node string) peer { return peer{ip: netip.MustParseAddr(ip), node: node} }
	c := cluster{
		operator:   podOf(names.SystemNamespace, "n1", read[appsv1.Deployment](t, "config/manager/deployment.yaml").Spec.Template),
		replica:    podOf(names.SystemNamespace, "n1", template(render.ControlPlane(in), "Deployment")),
		images:     podOf(names.SystemNamespace, "n1", template([]render.Object{render.Images(in)}, "DaemonSet")),
		gateway:    podOf("infra", "n1", template(render.GatewayProxies(in, gw, render.Standing{}), "Deployment")),
		sidecar:    bare("shop", map[string]string{"app": "web", names.LabelProxy: names.KindSidecar}),
		app:        bare("infra", map[string]string{"app": "db"}),
		tenant:     bare("evil", map[string]string{"app": "x"}),
		prometheus: bare("monitoring", map[string]string{"app": "prometheus"}),
		dns:        bare("kube-system", map[string]string{"k8s-app": "kube-dns"}),
		apiServer:  outside("192.0.2.10", "cp"), client: outside("203.0.113.7", ""), ownNode: outside("192.0.2.1", "n1"), otherNode: outside("192.0.2.2", "n2"),
	}
	c.replica2 = c.replica
	c.replica2.node = "n2"
	c.prometheus.nsLabel["tulle.dev/scrapes"] = "true"
	return c
}

type flow struct {
	what     string
	from, to peer
	protocol corev1.Protocol
	port     int32
}

// needed are the connections that the product makes.
func needed(c cluster) []flow {
	const tcp, udp = corev1.ProtocolTCP, corev1.ProtocolUDP
	out := []flow{
		{"the API server asks the webhook", c.apiServer, c.replica, tcp, names.PortWebhook},
		{"an API server on a pod's address asks the webhook", peer{namespace: "kube-system", nsLabel: map[string]string{}, ip: netip.MustParseAddr("10.0.0.9")}, c.replica, tcp, names.PortWebhook},
		{"the operator asks a replica", c.operator, c.replica2, tcp, names.PortInternal},
		{"the operator asks a replica of 0.2", c.operator, c.replica2, tcp, names.PortMonitor},
		{"a replica asks a replica", c.replica, c.replica2, tcp, names.PortInternal},
		{"a replica asks a replica of 0.2", c.replica, c.replica2, tcp, names.PortMonitor},
		{"Prometheus asks the control plane", c.prometheus, c.replica, tcp, names.PortMonitor},
		{"Prometheus asks the operator", c.prometheus, c.operator, tcp, c.operator.names["metrics"]},
		{"Prometheus asks a Gateway", c.prometheus, c.gateway, tcp, names.PortAgent},
		{"the kubelet probes a replica", c.ownNode, c.replica, tcp, names.PortMonitor},
		{"the kubelet probes the operator", c.ownNode, c.operator, tcp, c.operator.names["probes"]},
		{"the kubelet probes a Gateway", c.ownNode, c.gateway, tcp, names.PortReady},
		{"a client reaches a Gateway", c.client, c.gateway, tcp, 443},
		{"a client reaches a Gateway by a node", c.otherNode, c.gateway, tcp, 80},
		{"a client reaches a Gateway by UDP", c.client, c.gateway, udp, 5353},
		{"a pod reaches a Gateway", c.sidecar, c.gateway, tcp, 8443},
		{"a Gateway reaches a backend", c.gateway, c.sidecar, tcp, 8080},
		{"a Gateway reaches a backend outside", c.gateway, c.client, tcp, 8080},
	}
	for _, p := range []peer{c.sidecar, c.gateway, c.tenant} {
		out = append(
			out, flow{"a proxy gets its configuration", p, c.replica, tcp, names.PortADS}, flow{"a proxy gets its certificate", p, c.replica, tcp, names.PortSign},
		)
	}
	for who, p := range map[string]peer{"the operator": c.operator, "the control plane": c.replica} {
		out = append(
			out, flow{who + " asks the API server", p, c.apiServer, tcp, 6443}, flow{who + " asks the API server by its Service", p, c.apiServer, tcp, 443},
			flow{who + " asks for a name", p, c.dns, udp, 53}, flow{who + " asks for a long name", p, c.dns, tcp, 53},
			flow{who + " asks DNS of OpenShift", p, c.dns, udp, 5353}, flow{who + " asks DNS of OpenShift for a long name", p, c.dns, tcp, 5353},
			flow{who + " asks the API server of k3s", p, c.apiServer, tcp, 6444}, flow{who + " asks the API server of minikube", p, c.apiServer, tcp, 8443},
			flow{who + " asks the API server of MicroK8s", p, c.apiServer, tcp, 16443},
		)
	}
	return out
}

// TestNeededFlows: whatever the product needs passes.
func TestNeededFlows(t *testing.T) {
	all := shipped(t)
	for _, f := range needed(newCluster(t)) {
		if !allowed(all, f.from, f.to, f.protocol, f.port) {
			t.Errorf("%s: %s %d does not pass", f.what, f.protocol, f.port)
		}
	}
}

// TestNothingElse: of all connections between all peers at every port that anything listens on, and others,
// those that are not needed do not reach the operator, the control plane and the proxies' own ports.
func TestNothingElse(t *testing.T) {
	c := newCluster(t)
	all := shipped(t)
	must := map[string]bool{}
	id := func(from, to string, protocol corev1.Protocol, port int32) string {
		return fmt.Sprint(from, " -> ", to, " ", protocol, " ", port)
	}
	sources := map[string]peer{
		"operator": c.operator, "replica2": c.replica2, "gateway": c.gateway, "sidecar": c.sidecar, "app": c.app, "tenant": c.tenant, "prometheus": c.prometheus,
		"client": c.client, "other node": c.otherNode, "images": c.images,
	}
	open := map[string][]int32{ // by destination: what anybody may reach
		"operator": nil, "replica": {names.PortWebhook}, "images": nil,
	}
	pods := []int32{names.PortADS, names.PortSign} // what every pod may reach
	internal := map[string][]int32{"operator": {names.PortMonitor, names.PortInternal}, "replica2": {names.PortMonitor, names.PortInternal}}
	ports := map[int32]bool{80: true, 443: true, 6443: true, 22: true}
	for _, p := range []peer{c.operator, c.replica} {
		for _, n := range p.names {
			ports[n] = true
		}
	}
	for to, p := range map[string]peer{"operator": c.operator, "replica": c.replica, "images": c.images} {
		for from, source := range sources {
			for port := range ports {
				want := contains(open[to], port)
				if to == "replica" {
					want = want || source.namespace != "" && contains(pods, port) || contains(internal[from], port) || from == "prometheus" && port == names.PortMonitor
				}
				if to == "operator" {
					want = from == "prometheus" && port == p.names["metrics"]
				}
				// What may not leave its source does not arrive either.
				if from == "images" || from == "replica2" && !contains([]int32{443, 6443, 53, names.PortMonitor, names.PortInternal}, port) || from == "operator" && !contains([]int32{443, 6443, names.PortMonitor, names.PortInternal}, port) {
					want = false
				}
				if got := allowed(all, source, p, corev1.ProtocolTCP, port); got != want {
					t.Errorf("%s passes: %v, want %v", id(from, to, corev1.ProtocolTCP, port), got, want)
				}
				must[id(from, to, corev1.ProtocolTCP, port)] = want
				if allowed(all, source, p, corev1.ProtocolUDP, port) {
					t.Errorf("%s passes", id(from, to, corev1.ProtocolUDP, port))
				}
			}
		}
	}
	if len(must) < 100 {
		t.Errorf("only %d connections were looked at", len(must))
	}
	// The proxies' own ports at a Gateway.
	for port := int32(1); port <= 65535; port++ {
		own := names.IsProxyPort(uint16(port)) //nolint:gosec // in range
		if got := allowed(all, c.client, c.gateway, corev1.ProtocolTCP, port); got == own {
			t.Errorf("a client at port %d of a Gateway: %v", port, got)
		}
		if own && allowed(all, c.tenant, c.gateway, corev1.ProtocolTCP, port) {
			t.Errorf("a pod of a tenant at port %d of a Gateway passes", port)
		}
	}
	// Egress of what is compromised.
	for what, to := range map[string]peer{"another pod": c.sidecar, "a pod of its namespace": c.operator, "somewhere": c.client} {
		for _, port := range []int32{80, 8080, 22, 15012} {
			if allowed(all, c.replica, to, corev1.ProtocolTCP, port) {
				t.Errorf("the control plane reaches %s at %d", what, port)
			}
		}
		if allowed(all, c.images, to, corev1.ProtocolTCP, 443) {
			t.Errorf("a pod that holds images reaches %s", what)
		}
	}
}

// TestEveryPortHasAFlow: a new port of the operator or the control plane is thought of here.
func TestEveryPortHasAFlow(t *testing.T) {
	c := newCluster(t)
	used := map[int32]bool{}
	for _, f := range needed(c) {
		used[f.port] = true
	}
	all := maps.Clone(c.operator.names)
	maps.Copy(all, c.replica.names)
	for name, port := range all {
		if !used[port] {
			t.Errorf("nobody needs port %s (%d): add its flows and rules, or remove it", name, port)
		}
	}
}

func contains(list []int32, n int32) bool {
	for _, x := range list {
		if x == n {
			return true
		}
	}
	return false
}
