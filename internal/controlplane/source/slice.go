// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// SliceFrom trims an EndpointSlice; ok is false for one that belongs to no Service or holds no
// addresses but names. Of an endpoint with several addresses the first counts, as for kube-proxy;
// publishNotReadyAddresses has already made its endpoints ready.
func SliceFrom(s *discoveryv1.EndpointSlice) (out model.Slice, ok bool) {
	service := s.Labels[discoveryv1.LabelServiceName]
	if service == "" || s.AddressType == discoveryv1.AddressTypeFQDN {
		return model.Slice{}, false
	}
	out = model.Slice{Key: model.Key{Namespace: s.Namespace, Name: s.Name}, Service: model.Key{Namespace: s.Namespace, Name: service}}
	for _, p := range s.Ports {
		protocol := or(p.Protocol, corev1.ProtocolTCP)
		if p.Port == nil || protocol != corev1.ProtocolTCP && protocol != corev1.ProtocolUDP {
			continue
		}
		out.Ports = append(out.Ports, model.SlicePort{Name: or(p.Name, ""), Port: uint16(*p.Port), UDP: protocol == corev1.ProtocolUDP})
	}
	type place struct {
		addr netip.Addr
		pod  model.Key
	}
	seen := make(map[place]bool, len(s.Endpoints))
	for _, e := range s.Endpoints {
		if len(e.Addresses) == 0 {
			continue
		}
		addr, err := netip.ParseAddr(e.Addresses[0])
		if err != nil {
			continue
		}
		end := endpoint(s.Namespace, addr.Unmap(), e)
		if at := (place{end.Addr, end.Pod}); !seen[at] { // the API server takes one address a thousand times
			seen[at] = true
			out.Endpoints = append(out.Endpoints, end)
		}
	}
	return out, true
}

// endpoint reads the conditions as EndpointConditions says: unknown is ready, and serving is as ready.
func endpoint(namespace string, addr netip.Addr, e discoveryv1.Endpoint) model.SliceEndpoint {
	out := model.SliceEndpoint{Addr: addr, Node: or(e.NodeName, ""), Zone: or(e.Zone, "")}
	out.Ready = or(e.Conditions.Ready, true)
	out.Serving = or(e.Conditions.Serving, out.Ready)
	out.Terminating = or(e.Conditions.Terminating, false)
	if h := e.Hints; h != nil && len(h.ForZones)+len(h.ForNodes) > 0 {
		out.Hints = &model.Hints{
			Zones: distinct(h.ForZones, func(z discoveryv1.ForZone) string { return z.Name }),
			Nodes: distinct(h.ForNodes, func(n discoveryv1.ForNode) string { return n.Name }),
		}
	}
	if t := e.TargetRef; t != nil && t.Kind == "Pod" && t.Name != "" {
		out.Pod = model.Key{Namespace: t.Namespace, Name: t.Name}
		if t.Namespace == "" {
			out.Pod.Namespace = namespace
		}
	}
	return out
}

// distinct are the names in hints of one kind, sorted, each once.
func distinct[H any](hints []H, name func(H) string) []string {
	var out []string
	for _, h := range hints {
		if n := name(h); n != "" {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// or is what p points to, or the default.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
