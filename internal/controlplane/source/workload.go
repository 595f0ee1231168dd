// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"cmp"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// WorkloadFrom trims a pod. It has a proxy only where label and record agree: a pod that calls itself
// meshed without having been injected would only be cut off from its peers.
func WorkloadFrom(p *corev1.Pod) model.Workload {
	w := model.Workload{
		Key:            model.Key{Namespace: p.Namespace, Name: p.Name},
		UID:            string(p.UID),
		Addresses:      podAddresses(p),
		Node:           p.Spec.NodeName,
		NodeAddresses:  nodeAddresses(p),
		ServiceAccount: p.Spec.ServiceAccountName,
		HostNetwork:    p.Spec.HostNetwork,
		Ready:          isReady(p),
		Ended:          p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed,
		Labels:         labelsFrom(p.Labels),
		NamedPorts:     namedPorts(p),
	}
	if w.ServiceAccount == "" {
		w.ServiceAccount = "default" // as the API server would have written
	}
	switch p.Labels[names.LabelProxy] {
	case names.KindSidecar:
		var in protocol.Injected
		if json.Unmarshal([]byte(p.Annotations[names.AnnotationInjected]), &in) != nil || in.Version == "" {
			break
		}
		w.Kind, w.Version, w.Revision = names.KindSidecar, in.Version, in.Revision
		w.ExcludedInboundPorts = sortedPorts(in.ExcludedInboundPorts)
	case names.KindGateway:
		w.Kind, w.Gateway = names.KindGateway, gatewayOf(p)
	case "":
		if p.Labels[names.LabelClient] == names.ClientGRPC {
			w.Kind = names.KindClient
		}
	}
	if w.Kind == "" || w.Kind == names.KindClient {
		return w
	}
	// The labels follow the slots, which an upgrade replaces under a pod that stays; the record does not.
	w.Version = cmp.Or(p.Labels[names.LabelVersion], w.Version)
	w.Revision = cmp.Or(p.Labels[names.LabelRevision], w.Revision)
	w.LogLevel = p.Annotations[names.AnnotationProxyLogLevel]
	w.Concurrency = int(number(p.Annotations[names.AnnotationProxyConcurrency], 64))
	w.DrainSeconds = int32(number(p.Annotations[names.AnnotationDrainSeconds], 3600))
	return w
}

// gatewayOf is the Gateway that a pod serves: its label, or the whole name if that is too long for a label.
func gatewayOf(p *corev1.Pod) string {
	label := p.Labels[names.LabelGateway]
	if whole := p.Annotations[names.AnnotationGateway]; names.GatewayLabel(whole) == label {
		return whole
	}
	return label
}

func podAddresses(p *corev1.Pod) []netip.Addr {
	var ips []string
	for _, ip := range p.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	if len(ips) == 0 {
		ips = []string{p.Status.PodIP}
	}
	return addresses(ips)
}

func nodeAddresses(p *corev1.Pod) []netip.Addr {
	var ips []string
	for _, ip := range p.Status.HostIPs {
		ips = append(ips, ip.IP)
	}
	if len(ips) == 0 {
		ips = []string{p.Status.HostIP}
	}
	return addresses(ips)
}

func isReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// namedPorts are those of containers and of native sidecars, as for the EndpointSlice controller.
func namedPorts(p *corev1.Pod) []model.NamedPort {
	var out []model.NamedPort
	add := func(c corev1.Container) {
		for _, port := range c.Ports {
			if port.Name != "" && (port.Protocol == corev1.ProtocolTCP || port.Protocol == "") {
				out = append(out, model.NamedPort{Name: port.Name, Port: uint16(port.ContainerPort)})
			}
		}
	}
	for _, c := range p.Spec.Containers {
		add(c)
	}
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			add(c)
		}
	}
	slices.SortStableFunc(out, func(a, b model.NamedPort) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(out, func(a, b model.NamedPort) bool { return a.Name == b.Name })
}

func sortedPorts(ports []uint16) []uint16 {
	if len(ports) == 0 {
		return nil
	}
	ports = slices.Clone(ports)
	slices.Sort(ports)
	return slices.Compact(ports)
}

// number reads a positive number up to limit; the webhook refuses others, so that they count as unset.
func number(s string, limit int64) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 || n > limit {
		return 0
	}
	return n
}

func labelsFrom(set map[string]string) []model.Label {
	if len(set) == 0 {
		return nil
	}
	out := make([]model.Label, 0, len(set))
	for k, v := range set {
		out = append(out, model.Label{Name: k, Value: v})
	}
	slices.SortFunc(out, func(a, b model.Label) int { return strings.Compare(a.Name, b.Name) })
	return out
}
