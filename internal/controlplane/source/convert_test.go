// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// read decodes a YAML object strictly.
func read[T any](t *testing.T, in string) *T {
	t.Helper()
	v := new(T)
	if err := yaml.UnmarshalStrict([]byte(in), v); err != nil {
		t.Fatal(err)
	}
	return v
}

const longName = "a-gateway-whose-name-is-as-long.as-some-charts-make-them-by-joining"

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func same(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestServiceFrom has one case for each kind of Service.
func TestServiceFrom(t *testing.T) {
	web := model.Key{Namespace: "shop", Name: "web"}
	for name, c := range map[string]struct {
		spec string
		want model.Service
	}{
		"ClusterIP, dual stack, primary first": {
			"{clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, 'fd00::1'], ports: [{name: http, port: 80, targetPort: web}]}",
			model.Service{Key: web, VIPs: []netip.Addr{ip("10.0.0.1"), ip("fd00::1")}, Ports: []model.ServicePort{{Name: "http", Port: 80, Protocol: model.HTTP, Declared: true}}},
		},
		"only the old field": {"{clusterIP: 10.0.0.1}", model.Service{Key: web, VIPs: []netip.Addr{ip("10.0.0.1")}}},
		"no address yet":     {"{}", model.Service{Key: web}},
		"headless":           {"{clusterIP: None, clusterIPs: [None]}", model.Service{Key: web, Headless: true}},
		"ExternalName, whatever else it says": {
			"{type: ExternalName, externalName: example.com, clusterIP: 10.0.0.1, ports: [{port: 80}]}",
			model.Service{Key: web, ExternalName: "example.com"},
		},
		"internalTrafficPolicy Local":   {"{clusterIP: 10.0.0.1, internalTrafficPolicy: Local}", model.Service{Key: web, VIPs: []netip.Addr{ip("10.0.0.1")}, LocalTraffic: true}},
		"internalTrafficPolicy Cluster": {"{clusterIP: 10.0.0.1, internalTrafficPolicy: Cluster}", model.Service{Key: web, VIPs: []netip.Addr{ip("10.0.0.1")}}},
		"session affinity, default":     {"{clusterIP: 10.0.0.1, sessionAffinity: ClientIP}", model.Service{Key: web, VIPs: []netip.Addr{ip("10.0.0.1")}, AffinitySeconds: 10800}},
		"session affinity, given": {
			"{clusterIP: 10.0.0.1, sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}}",
			model.Service{Key: web, VIPs: []netip.Addr{ip("10.0.0.1")}, AffinitySeconds: 60},
		},
		"several ports; those for SCTP are left out": {
			"{clusterIP: 10.0.0.1, ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}, {name: sctp, port: 90, protocol: SCTP}, {name: any, port: 9000}, {name: x, port: 9001, appProtocol: kubernetes.io/h2c}]}",
			model.Service{Key: web, VIPs: []netip.Addr{ip("10.0.0.1")}, Ports: []model.ServicePort{
				{Name: "dns", Port: 53, Protocol: model.UDP, Declared: true},
				{Name: "dns-tcp", Port: 53, Protocol: model.TCP},
				{Name: "any", Port: 9000, Protocol: model.TCP},
				{Name: "x", Port: 9001, Protocol: model.HTTP2, Declared: true, Fixed: true},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := read[corev1.Service](t, "{metadata: {namespace: shop, name: web}, spec: "+c.spec+"}")
			same(t, c.want, ServiceFrom(s))
		})
	}
}

// TestServiceOfManyPorts: the first ports of each protocol count, and the other TCP ports are counted.
func TestServiceOfManyPorts(t *testing.T) {
	var s corev1.Service
	for i := range 2*model.MaxPorts + 10 {
		p := corev1.ServicePort{Port: int32(1000 + i/2), Protocol: corev1.ProtocolTCP}
		if i%2 == 1 {
			p.Protocol = corev1.ProtocolUDP
		}
		s.Spec.Ports = append(s.Spec.Ports, p)
	}
	got := ServiceFrom(&s)
	if len(got.Ports) != 2*model.MaxPorts || got.MorePorts != 5 || got.Ports[len(got.Ports)-1].Port != 1000+model.MaxPorts-1 {
		t.Errorf("%d ports and %d more", len(got.Ports), got.MorePorts)
	}
}

// TestServiceLoadBalancer: addresses and host names, sorted, each once.
func TestServiceLoadBalancer(t *testing.T) {
	s := read[corev1.Service](t, "{status: {loadBalancer: {ingress: [{hostname: lb.example.com}, {ip: 192.0.2.2}, {ip: 192.0.2.1}, {ip: 192.0.2.2}, {}]}}}")
	same(t, []string{"192.0.2.1", "192.0.2.2", "lb.example.com"}, ServiceFrom(s).LoadBalancer)
}

// TestServiceAddresses: the other addresses and node ports that kube-proxy handles for a Service.
func TestServiceAddresses(t *testing.T) {
	const status = "status: {loadBalancer: {ingress: [{ip: 192.0.2.2}, {ip: 192.0.2.1, ipMode: VIP}, {ip: 192.0.2.3, ipMode: Proxy}, {hostname: lb.example.com}]}}"
	for spec, want := range map[string][2][]netip.Addr{
		"{externalIPs: [198.51.100.7, 192.0.2.1]}":                                            {{ip("192.0.2.1"), ip("192.0.2.2")}, {ip("192.0.2.1"), ip("198.51.100.7")}},
		"{externalIPs: [198.51.100.7, nonsense], loadBalancerSourceRanges: [203.0.113.0/24]}": {nil, {ip("198.51.100.7")}},
		"{type: ExternalName, externalName: example.com, externalIPs: [198.51.100.7]}":        {},
		"{clusterIP: None, externalIPs: [198.51.100.7]}":                                      {},
	} {
		got := ServiceFrom(read[corev1.Service](t, "{spec: "+spec+", "+status+"}"))
		same(t, want[0], got.Balanced)
		same(t, want[1], got.External)
	}
	s := ServiceFrom(read[corev1.Service](t, "{spec: {externalTrafficPolicy: Local, ports: [{port: 80, nodePort: 30080}, {port: 53, nodePort: 30053, protocol: UDP}]}}"))
	if !s.LocalNodePorts || s.Ports[0].NodePort != 30080 || s.Ports[1].NodePort != 0 || !slices.Equal(s.NodePorts, []uint16{30053, 30080}) || s.OuterPorts != nil {
		t.Errorf("%+v", s)
	}
	many := &corev1.Service{Spec: corev1.ServiceSpec{ExternalIPs: []string{"198.51.100.7"}}}
	for i := range int32(2 * model.MaxPorts) { // kube-proxy serves those that have no listeners, too
		many.Spec.Ports = append(many.Spec.Ports, corev1.ServicePort{Port: 1 + i, NodePort: 30000 + i, Protocol: corev1.ProtocolUDP})
	}
	if s = ServiceFrom(many); len(s.OuterPorts) != len(many.Spec.Ports) || len(s.NodePorts) != len(many.Spec.Ports) || len(s.Ports) != model.MaxPorts {
		t.Errorf("%d ports, %d outside and %d of nodes, of %d", len(s.Ports), len(s.OuterPorts), len(s.NodePorts), len(many.Spec.Ports))
	}
}

// TestNodeAddresses: a pod tells the addresses of its node.
func TestNodeAddresses(t *testing.T) {
	for status, want := range map[string][]netip.Addr{
		"{hostIP: 192.168.0.1}": {ip("192.168.0.1")},
		"{hostIP: 192.168.0.1, hostIPs: [{ip: 192.168.0.1}, {ip: 'fd00::1'}]}": {ip("192.168.0.1"), ip("fd00::1")},
		"{}": nil,
	} {
		same(t, want, WorkloadFrom(read[corev1.Pod](t, "{status: "+status+"}")).NodeAddresses)
	}
}

// TestPublished: what kind a Gateway's Service may be of, clients can reach it at its listeners' ports. The
// Services of others publish nothing here, whatever their names, owners and labels.
func TestPublished(t *testing.T) {
	const ours = "metadata: {name: x, labels: {app.kubernetes.io/managed-by: tulle-operator}, ownerReferences: [{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, name: edge.example, uid: u, controller: true}]}, "
	const ingress = "status: {loadBalancer: {ingress: [{hostname: lb.example.com}, {ip: 192.0.2.1}]}}"
	for name, c := range map[string]struct {
		in      string
		gateway string
		want    []string
	}{
		"a load balancer":                               {"{" + ours + "spec: {type: LoadBalancer, clusterIPs: [10.0.0.1]}, " + ingress + "}", "edge.example", []string{"192.0.2.1", "lb.example.com"}},
		"a load balancer that has none yet":             {"{" + ours + "spec: {type: LoadBalancer, clusterIPs: [10.0.0.1]}}", "edge.example", nil},
		"with external IPs":                             {"{" + ours + "spec: {type: LoadBalancer, clusterIPs: [10.0.0.1], externalIPs: [198.51.100.1, 192.0.2.1]}, " + ingress + "}", "edge.example", []string{"192.0.2.1", "lb.example.com", "198.51.100.1"}},
		"ClusterIP, dual stack":                         {"{" + ours + "spec: {type: ClusterIP, clusterIPs: ['fd00::1', 10.0.0.1]}}", "edge.example", []string{"fd00::1", "10.0.0.1"}},
		"ClusterIP with external IPs":                   {"{" + ours + "spec: {type: ClusterIP, clusterIPs: [10.0.0.1], externalIPs: [198.51.100.1]}}", "edge.example", []string{"198.51.100.1", "10.0.0.1"}},
		"NodePort, and what is left of a load balancer": {"{" + ours + "spec: {type: NodePort, clusterIPs: [10.0.0.1]}, " + ingress + "}", "edge.example", []string{"10.0.0.1"}},
		"no address at all":                             {"{" + ours + "spec: {type: ClusterIP}}", "edge.example", nil},
		"somebody's, of the same name":                  {"{metadata: {name: edge-tulle}, spec: {type: LoadBalancer, clusterIPs: [10.0.0.1]}, " + ingress + "}", "", nil},
		"another controller's":                          {"{metadata: {name: x, ownerReferences: [{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, name: edge, uid: u, controller: true}]}, spec: {clusterIPs: [10.0.0.1]}}", "", nil},
		"another kind's of the same name":               {"{metadata: {name: x, labels: {app.kubernetes.io/managed-by: tulle-operator}, ownerReferences: [{apiVersion: example.com/v1, kind: Gateway, name: edge, uid: u, controller: true}]}, spec: {clusterIPs: [10.0.0.1]}}", "", nil},
	} {
		s := ServiceFrom(read[corev1.Service](t, c.in))
		if s.Gateway != c.gateway || !slices.Equal(s.Published, c.want) {
			t.Errorf("%s: of Gateway %q, published %v, want %q, %v", name, s.Gateway, s.Published, c.gateway, c.want)
		}
	}
}

func TestSliceFrom(t *testing.T) {
	s := read[discoveryv1.EndpointSlice](t, `
metadata: {namespace: shop, name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}, {name: old, port: 1}, {name: udp, port: 53, protocol: UDP}, {name: none}]
endpoints:
- {addresses: [10.0.0.1, 10.0.0.9], nodeName: n1, zone: z1, targetRef: {kind: Pod, namespace: shop, name: a}, conditions: {ready: true, serving: true, terminating: false}}
- {addresses: [10.0.0.2]}
- {addresses: [10.0.0.3], conditions: {ready: false}}
- {addresses: [10.0.0.4], conditions: {ready: false, serving: true, terminating: true}, targetRef: {kind: Pod, name: d}}
- {addresses: [10.0.0.5], targetRef: {kind: Node, name: n1}}
- {addresses: [10.0.0.2], conditions: {ready: false}}
- {addresses: []}
- {addresses: [nonsense]}
`)
	got, ok := SliceFrom(s)
	if !ok {
		t.Fatal("refused")
	}
	same(t, model.Slice{
		Key: model.Key{Namespace: "shop", Name: "web-1"}, Service: model.Key{Namespace: "shop", Name: "web"},
		Ports: []model.SlicePort{{Name: "http", Port: 8080}, {Name: "old", Port: 1}, {Name: "udp", Port: 53, UDP: true}},
		Endpoints: []model.SliceEndpoint{
			{Addr: ip("10.0.0.1"), Pod: model.Key{Namespace: "shop", Name: "a"}, Node: "n1", Zone: "z1", Ready: true, Serving: true},
			{Addr: ip("10.0.0.2"), Ready: true, Serving: true},
			{Addr: ip("10.0.0.3")},
			{Addr: ip("10.0.0.4"), Pod: model.Key{Namespace: "shop", Name: "d"}, Serving: true, Terminating: true},
			{Addr: ip("10.0.0.5"), Ready: true, Serving: true},
		},
	}, got)
	for name, in := range map[string]string{
		"of no Service": "{metadata: {namespace: shop, name: x}, addressType: IPv4}",
		"of names":      "{metadata: {namespace: shop, name: x, labels: {kubernetes.io/service-name: web}}, addressType: FQDN}",
	} {
		if _, ok := SliceFrom(read[discoveryv1.EndpointSlice](t, in)); ok {
			t.Errorf("a slice %s was taken", name)
		}
	}
}

const injected = `tulle.dev/injected: '{"version":"0.1.0","revision":"0-1-0","excludedInboundPorts":[9000,8125]}'`

func TestWorkloadFrom(t *testing.T) {
	key := model.Key{Namespace: "shop", Name: "web-0"}
	base := model.Workload{Key: key, ServiceAccount: "default"}
	for name, c := range map[string]struct {
		in   string
		want func(*model.Workload)
	}{
		"a pod without proxy": {
			`{metadata: {uid: u1, labels: {b: "2", a: "1"}}, spec: {nodeName: n1, serviceAccountName: web, hostNetwork: true}, status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}], conditions: [{type: Ready, status: "True"}]}}`,
			func(w *model.Workload) {
				w.UID, w.Node, w.ServiceAccount, w.HostNetwork, w.Ready = "u1", "n1", "web", true, true
				w.Addresses = []netip.Addr{ip("10.0.0.1"), ip("fd00::1")}
			},
		},
		"not ready, old field":   {`{status: {podIP: 10.0.0.1, conditions: [{type: Ready, status: "False"}]}}`, func(w *model.Workload) { w.Addresses = []netip.Addr{ip("10.0.0.1")} }},
		"has ended with success": {`{status: {phase: Succeeded}}`, func(w *model.Workload) { w.Ended = true }},
		"has ended with failure": {`{status: {phase: Failed}}`, func(w *model.Workload) { w.Ended = true }},
		"a sidecar": {
			`{metadata: {labels: {tulle.dev/proxy: sidecar}, annotations: {` + injected + `, tulle.dev/proxy-log-level: debug, tulle.dev/proxy-concurrency: "4", tulle.dev/drain-seconds: "30"}}}`,
			func(w *model.Workload) {
				w.Kind, w.Version, w.Revision, w.ExcludedInboundPorts = "sidecar", "0.1.0", "0-1-0", []uint16{8125, 9000}
				w.LogLevel, w.Concurrency, w.DrainSeconds = "debug", 4, 30
			},
		},
		"a sidecar whose slots were upgraded since": {
			`{metadata: {labels: {tulle.dev/proxy: sidecar, tulle.dev/version: 0.2.0, tulle.dev/revision: 0-2-0}, annotations: {` + injected + `}}}`,
			func(w *model.Workload) {
				w.Kind, w.Version, w.Revision, w.ExcludedInboundPorts = "sidecar", "0.2.0", "0-2-0", []uint16{8125, 9000}
			},
		},
		"a pod that only calls itself meshed": {
			`{metadata: {labels: {tulle.dev/proxy: sidecar}}}`,
			func(*model.Workload) {},
		},
		"a record that can't be read": {
			`{metadata: {labels: {tulle.dev/proxy: sidecar}, annotations: {tulle.dev/injected: "yes"}}}`,
			func(*model.Workload) {},
		},
		"values that the webhook would have refused": {
			`{metadata: {labels: {tulle.dev/proxy: sidecar}, annotations: {` + injected + `, tulle.dev/proxy-concurrency: "65", tulle.dev/drain-seconds: "-1", tulle.dev/proxy-log-level: loud}}}`,
			func(w *model.Workload) {
				w.Kind, w.Version, w.Revision, w.ExcludedInboundPorts = "sidecar", "0.1.0", "0-1-0", []uint16{8125, 9000}
			},
		},
		"a gateway whose name is too long for a label": {
			"{metadata: {labels: {tulle.dev/proxy: gateway, gateway.networking.k8s.io/gateway-name: " + names.GatewayLabel(longName) + "}, annotations: {tulle.dev/gateway: " + longName + "}}}",
			func(w *model.Workload) {
				w.Kind, w.Gateway = "gateway", longName
			},
		},
		"a gateway that names another than its label": {
			"{metadata: {labels: {tulle.dev/proxy: gateway, gateway.networking.k8s.io/gateway-name: edge}, annotations: {tulle.dev/gateway: other}}}",
			func(w *model.Workload) {
				w.Kind, w.Gateway = "gateway", "edge"
			},
		},
		"a gateway": {
			`{metadata: {labels: {tulle.dev/proxy: gateway, gateway.networking.k8s.io/gateway-name: edge, tulle.dev/version: 0.1.0, tulle.dev/revision: 0-1-0}}}`,
			func(w *model.Workload) {
				w.Kind, w.Gateway, w.Version, w.Revision = "gateway", "edge", "0.1.0", "0-1-0"
			},
		},
		"an application that is a client itself": {
			`{metadata: {labels: {tulle.dev/client: grpc}, annotations: {tulle.dev/proxy-concurrency: "4"}}}`,
			func(w *model.Workload) {
				w.Kind = "client"
			},
		},
		"a label of clients that means nothing": {
			`{metadata: {labels: {tulle.dev/client: http}}}`,
			func(*model.Workload) {},
		},
		"a sidecar whose application is a client, too": {
			`{metadata: {labels: {tulle.dev/proxy: sidecar, tulle.dev/client: grpc}, annotations: {` + injected + `}}}`,
			func(w *model.Workload) {
				w.Kind, w.Version, w.Revision, w.ExcludedInboundPorts = "sidecar", "0.1.0", "0-1-0", []uint16{8125, 9000}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := read[corev1.Pod](t, c.in)
			p.Namespace, p.Name = key.Namespace, key.Name
			want := base
			c.want(&want)
			same(t, want, WorkloadFrom(p))
		})
	}
}

// TestNamespaceFrom: the namespace's own label wins over the selector, and nothing over Never.
func TestNamespaceFrom(t *testing.T) {
	selector, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}})
	if err != nil {
		t.Fatal(err)
	}
	s := Selection{Selector: selector, Never: []string{"kube-system", "tulle-system"}}
	for in, want := range map[string]bool{
		"{name: x}":                                                false,
		"{name: x, labels: {team: a}}":                             true,
		"{name: x, labels: {team: b}}":                             false,
		"{name: x, labels: {tulle.dev/inject: enabled}}":           true,
		"{name: x, labels: {tulle.dev/inject: disabled, team: a}}": false,
		"{name: x, labels: {tulle.dev/inject: perhaps, team: a}}":  false,
		"{name: kube-system, labels: {tulle.dev/inject: enabled}}": false,
		"{name: tulle-system, labels: {team: a}}":                  false,
	} {
		ns := NamespaceFrom(read[corev1.Namespace](t, "{metadata: "+in+"}"), s)
		if ns.Meshed != want {
			t.Errorf("%s: meshed %v", in, ns.Meshed)
		}
	}
	got := NamespaceFrom(read[corev1.Namespace](t, "{metadata: {name: x, labels: {b: '2', a: '1'}}}"), Selection{})
	same(t, model.Namespace{Name: "x", Labels: []model.Label{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}}}, got)
}
