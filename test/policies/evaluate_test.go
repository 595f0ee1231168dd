// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package policies

import (
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// peer is one end of a connection: a pod, or an address outside the pods (of a node, an API server or a
// client).
type peer struct {
	namespace       string // empty: no pod
	labels, nsLabel map[string]string
	ip              netip.Addr
	node            string // of a pod, or whose address it is
	names           map[string]int32
}

// allowed tells whether a connection passes (https://kubernetes.io/docs/concepts/services-networking/network-policies/):
// the policies that select the source must allow the egress, and those that select the destination the
// ingress. A pod that no policy of a direction selects is not limited in that direction. Traffic between a
// pod and its own node always passes.
func allowed(all []networkingv1.NetworkPolicy, from, to peer, protocol corev1.Protocol, port int32) bool {
	if from.node != "" && from.node == to.node && (from.namespace == "") != (to.namespace == "") {
		return true
	}
	return passes(all, networkingv1.PolicyTypeEgress, from, to, to, protocol, port) &&
		passes(all, networkingv1.PolicyTypeIngress, to, from, to, protocol, port)
}

func passes(all []networkingv1.NetworkPolicy, direction networkingv1.PolicyType, of, other, target peer, protocol corev1.Protocol, port int32) bool {
	selected := false
	for _, p := range all {
		if of.namespace == "" || p.Namespace != of.namespace || !matches(&p.Spec.PodSelector, of.labels) || !slices.Contains(p.Spec.PolicyTypes, direction) {
			continue
		}
		selected = true
		if direction == networkingv1.PolicyTypeIngress {
			for _, r := range p.Spec.Ingress {
				if peers(r.From, p.Namespace, other) && ports(r.Ports, target, protocol, port) {
					return true
				}
			}
			continue
		}
		for _, r := range p.Spec.Egress {
			if peers(r.To, p.Namespace, other) && ports(r.Ports, target, protocol, port) {
				return true
			}
		}
	}
	return !selected
}

// peers: no peer is every peer; several are any of them.
func peers(list []networkingv1.NetworkPolicyPeer, namespace string, p peer) bool {
	if len(list) == 0 {
		return true
	}
	return slices.ContainsFunc(list, func(x networkingv1.NetworkPolicyPeer) bool {
		if x.IPBlock != nil {
			prefix := netip.MustParsePrefix(x.IPBlock.CIDR)
			return prefix.Contains(p.ip) && !slices.ContainsFunc(x.IPBlock.Except, func(e string) bool { return netip.MustParsePrefix(e).Contains(p.ip) })
		}
		if p.namespace == "" {
			return false // selectors are about pods
		}
		if x.NamespaceSelector == nil {
			return p.namespace == namespace && matches(x.PodSelector, p.labels)
		}
		return matches(x.NamespaceSelector, p.nsLabel) && (x.PodSelector == nil || matches(x.PodSelector, p.labels))
	})
}

// ports: no port is every port. A name is that of a port of the destination's containers.
func ports(list []networkingv1.NetworkPolicyPort, target peer, protocol corev1.Protocol, port int32) bool {
	if len(list) == 0 {
		return true
	}
	return slices.ContainsFunc(list, func(p networkingv1.NetworkPolicyPort) bool {
		want := corev1.ProtocolTCP
		if p.Protocol != nil {
			want = *p.Protocol
		}
		if want != protocol {
			return false
		}
		switch {
		case p.Port == nil:
			return true
		case p.Port.Type == intstr.String:
			return target.names[p.Port.StrVal] == port
		case p.EndPort != nil:
			return p.Port.IntVal <= port && port <= *p.EndPort
		}
		return p.Port.IntVal == port
	})
}

func matches(s *metav1.LabelSelector, l map[string]string) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && selector.Matches(labels.Set(l))
}

// TestEvaluate: the simulation is as Kubernetes' documentation says.
func TestEvaluate(t *testing.T) {
	web := peer{namespace: "a", labels: map[string]string{"app": "web"}, nsLabel: map[string]string{"team": "x"}, ip: netip.MustParseAddr("10.0.0.1"), node: "n1"}
	other := peer{namespace: "b", labels: map[string]string{"app": "web"}, nsLabel: map[string]string{"team": "y"}, ip: netip.MustParseAddr("10.0.0.2"), node: "n2"}
	node := peer{ip: netip.MustParseAddr("192.0.2.1"), node: "n1"}
	policy := func(in ...networkingv1.NetworkPolicyIngressRule) []networkingv1.NetworkPolicy {
		return []networkingv1.NetworkPolicy{{ObjectMeta: metav1.ObjectMeta{Namespace: "a"}, Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}, Ingress: in,
		}}}
	}
	from := func(p ...networkingv1.NetworkPolicyPeer) networkingv1.NetworkPolicyIngressRule {
		return networkingv1.NetworkPolicyIngressRule{From: p}
	}
	app := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	for name, c := range map[string]struct {
		policies []networkingv1.NetworkPolicy
		from     peer
		want     bool
	}{
		"no policy":                    {nil, other, true},
		"a policy without rules":       {policy(), other, false},
		"its own node":                 {policy(), node, true},
		"pods of its own namespace":    {policy(from(networkingv1.NetworkPolicyPeer{PodSelector: app})), other, false},
		"pods of every namespace":      {policy(from(networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{}, PodSelector: app})), other, true},
		"every namespace, from a node": {policy(from(networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{}})), peer{ip: netip.MustParseAddr("192.0.2.2"), node: "n2"}, false},
		"another namespace":            {policy(from(networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "x"}}})), other, false},
		"an address":                   {policy(from(networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/8", Except: []string{"10.0.0.2/32"}}})), other, false},
		"everything":                   {policy(networkingv1.NetworkPolicyIngressRule{}), other, true},
	} {
		if got := allowed(c.policies, c.from, web, corev1.ProtocolTCP, 80); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
