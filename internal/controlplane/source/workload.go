// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"cmp"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// longestName is how long a name of an object, and longestLabel a value of a label, may be.
const (
	longestName  = 253
	longestLabel = 63
)

// WorkloadFrom trims a pod. It has a proxy only where label and record agree: a pod that calls itself
// meshed without having been injected would only be cut off from its peers.
//
// Whoever may change a pod chooses its annotations and labels, of up to a megabyte; the webhook sees them only when
// the pod is created. What is kept of a pod is bounded (TestWorkloadsAreSmall).
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
	}
	if w.ServiceAccount == "" {
		w.ServiceAccount = "default" // as the API server would have written
	}
	switch p.Labels[names.LabelProxy] {
	case names.KindSidecar:
		in, ok := recordOf(p)
		if !ok {
			break
		}
		w.Kind, w.Version, w.Revision = names.KindSidecar, in.Version, in.Revision
		w.ExcludedInboundPorts = excludedPorts(in.ExcludedInboundPorts)
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
	if i := slices.Index(names.ProxyLogLevels(), p.Annotations[names.AnnotationProxyLogLevel]); i >= 0 {
		w.LogLevel = names.ProxyLogLevels()[i]
	}
	w.Concurrency = int(number(p.Annotations[names.AnnotationProxyConcurrency], 64))
	w.DrainSeconds = int32(number(p.Annotations[names.AnnotationDrainSeconds], 3600))
	return w
}

// recordOf returns the record of an injection; ok is false if it is missing, invalid or has a version that is none.
func recordOf(p *corev1.Pod) (in protocol.Injected, ok bool) {
	err := json.Unmarshal([]byte(p.Annotations[names.AnnotationInjected]), &in)
	return in, err == nil && in.Version != "" && len(in.Version) <= longestLabel && len(in.Revision) <= longestLabel
}

// gatewayOf is the Gateway that a pod serves: its label, or the whole name if that is too long for a label.
func gatewayOf(p *corev1.Pod) string {
	label := p.Labels[names.LabelGateway]
	if whole := p.Annotations[names.AnnotationGateway]; len(whole) <= longestName && names.GatewayLabel(whole) == label {
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

// excludedPorts sorts the ports of a record. Of a record with more than the webhook allows, the rest counts as
// not excluded: peers use mutual TLS there, and never plaintext.
func excludedPorts(ports []uint16) []uint16 {
	if len(ports) == 0 {
		return nil
	}
	slices.Sort(ports)
	ports = slices.Compact(ports)
	return slices.Clone(ports[:min(len(ports), protocol.MaxExcludedInboundPorts)])
}

// number reads a positive number up to limit; the webhook refuses others, so that they count as unset.
func number(s string, limit int64) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 || n > limit {
		return 0
	}
	return n
}
