// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// ServiceFrom trims a Service to what the mesh uses. Ports keep their order; those for SCTP, of which
// neither mesh nor Gateways know anything, and those beyond model.MaxPorts are left out.
func ServiceFrom(s *corev1.Service) model.Service {
	out := model.Service{
		Key:          model.Key{Namespace: s.Namespace, Name: s.Name},
		Headless:     s.Spec.ClusterIP == corev1.ClusterIPNone,
		LocalTraffic: s.Spec.InternalTrafficPolicy != nil && *s.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal,
		LoadBalancer: loadBalancer(s),
	}
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		// Whatever else such a Service says has no effect: it is a name in the DNS.
		return model.Service{Key: out.Key, ExternalName: s.Spec.ExternalName}
	}
	ips := s.Spec.ClusterIPs
	if len(ips) == 0 {
		ips = []string{s.Spec.ClusterIP}
	}
	out.VIPs = addresses(ips)
	if !out.Headless { // for kube-proxy a headless Service has no addresses at all
		out.Balanced, out.External = balanced(s), sorted(addresses(s.Spec.ExternalIPs))
	}
	out.OuterPorts, out.NodePorts = allPorts(s)
	if len(out.LoadBalancer)+len(out.External) == 0 {
		out.OuterPorts = nil
	}
	out.LocalNodePorts = s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
	if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		out.AffinitySeconds = corev1.DefaultClientIPServiceAffinitySeconds
		if c := s.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
			out.AffinitySeconds = *c.ClientIP.TimeoutSeconds
		}
	}
	if out.Gateway = madeFor(s); out.Gateway != "" {
		out.Published = published(s, ips)
	}
	tcp, udp := 0, 0
	for _, p := range s.Spec.Ports {
		if p.Protocol == corev1.ProtocolSCTP {
			continue
		}
		port, n := servicePort(p), &tcp
		if port.Protocol == model.UDP {
			n = &udp
		}
		if *n++; *n <= model.MaxPorts {
			out.Ports = append(out.Ports, port)
		}
	}
	out.MorePorts = max(0, tcp-model.MaxPorts)
	return out
}

// allPorts are the numbers of a Service's ports and node ports, those that are left out of model.Service.Ports too.
func allPorts(s *corev1.Service) (ports, nodePorts []uint16) {
	for _, p := range s.Spec.Ports {
		ports = append(ports, uint16(p.Port))
		if p.NodePort != 0 {
			nodePorts = append(nodePorts, uint16(p.NodePort))
		}
	}
	slices.Sort(ports)
	slices.Sort(nodePorts)
	return slices.Compact(ports), slices.Compact(nodePorts)
}

func servicePort(p corev1.ServicePort) model.ServicePort {
	out := model.ServicePort{Name: p.Name, Port: uint16(p.Port)}
	if p.Protocol != corev1.ProtocolTCP && p.Protocol != "" {
		out.Protocol, out.Declared = model.UDP, true
		return out
	}
	out.NodePort = uint16(p.NodePort)
	app := ""
	if p.AppProtocol != nil {
		app = *p.AppProtocol
	}
	out.Protocol, out.Declared = model.ProtocolOf(app, p.Name, out.Port)
	out.Fixed = app != ""
	return out
}

func loadBalancer(s *corev1.Service) []string {
	var out []string
	for _, in := range s.Status.LoadBalancer.Ingress {
		if in.IP != "" {
			out = append(out, in.IP)
		} else if in.Hostname != "" {
			out = append(out, in.Hostname)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// balanced are the addresses of load balancers that kube-proxy handles on every node. Where the Service
// restricts the sources of its load balancer, kube-proxy has to see the connection.
func balanced(s *corev1.Service) []netip.Addr {
	if len(s.Spec.LoadBalancerSourceRanges) > 0 {
		return nil
	}
	var out []netip.Addr
	for _, in := range s.Status.LoadBalancer.Ingress {
		if in.IPMode == nil || *in.IPMode == corev1.LoadBalancerIPModeVIP {
			out = append(out, addresses([]string{in.IP})...)
		}
	}
	return sorted(out)
}

func sorted(addrs []netip.Addr) []netip.Addr {
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}

// madeFor is the Gateway that the operator made a Service for; empty for the Services of others, whatever
// their names and owners.
func madeFor(s *corev1.Service) string {
	owner := metav1.GetControllerOf(s)
	if owner == nil || owner.Kind != "Gateway" || !strings.HasPrefix(owner.APIVersion, gwapiv1.GroupName+"/") || s.Labels[names.LabelManagedBy] != names.Operator {
		return ""
	}
	return owner.Name
}

// published are the addresses by which clients reach a Gateway's Service on the ports of its listeners. For
// NodePort these are not the addresses of nodes: there the ports are others.
func published(s *corev1.Service, clusterIPs []string) []string {
	var out []string
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		out = append(loadBalancer(s), s.Spec.ExternalIPs...)
	} else {
		out = slices.Concat(s.Spec.ExternalIPs, clusterIPs)
	}
	seen := map[string]bool{"": true, corev1.ClusterIPNone: true}
	return slices.DeleteFunc(out, func(a string) bool {
		double := seen[a]
		seen[a] = true
		return double
	})
}

// addresses parses IPs in their order and leaves out what is none, such as "None" and "".
func addresses(ips []string) []netip.Addr {
	var out []netip.Addr
	for _, s := range ips {
		if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, a.Unmap())
		}
	}
	return out
}
