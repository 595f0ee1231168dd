// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/slots"
)

// drainMargin is what a gateway pod gets to end beyond the drain time of its proxy, in seconds.
const drainMargin = 15

// MaxGatewayName is the longest name a Gateway can have, so that its Service and its labels can be named.
const MaxGatewayName = 63 - len("-"+names.GatewayClass)

// Gateway are the objects that serve a Gateway: in its namespace, and owned by it, so that they
// go when it goes. A Gateway without a port to serve has no Service. sets are its ListenerSets.
func Gateway(in Input, gw *gwapiv1.Gateway, sets ...gwapiv1.ListenerSet) []Object {
	g := gateway{Input: in, gw: gw}
	out := []Object{
		object("v1", "ServiceAccount", &corev1.ServiceAccount{ObjectMeta: g.meta(), AutomountServiceAccountToken: ptr(false)}),
		g.deployment(),
	}
	if ports := GatewayPorts(gw, sets...); len(ports) > 0 {
		out = append(out, g.service(ports))
	}
	if g.replicas() > 1 {
		out = append(out, g.disruptionBudget())
	}
	return out
}

type gateway struct {
	Input
	gw *gwapiv1.Gateway
}

func (g gateway) replicas() int32 {
	if r := g.Mesh.Spec.Gateway.Replicas; r != nil {
		return *r
	}
	return 2
}

func (g gateway) selector() map[string]string {
	return map[string]string{names.LabelGateway: g.gw.Name, names.LabelProxy: names.KindGateway}
}

// meta carries the labels and annotations that the Gateway wants on what is made for it
// (GEP-1762); Tulle's own win.
func (g gateway) meta() metav1.ObjectMeta {
	labels, annotations := g.infrastructure()
	return metav1.ObjectMeta{
		Name:        names.GatewayResource(g.gw.Name),
		Namespace:   g.gw.Namespace,
		Labels:      merged(labels, map[string]string{names.LabelManagedBy: names.Operator, names.LabelGateway: g.gw.Name}),
		Annotations: annotations,
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: gwapiv1.GroupVersion.String(), Kind: "Gateway",
			Name: g.gw.Name, UID: g.gw.UID, Controller: ptr(true),
		}},
	}
}

func (g gateway) infrastructure() (labels, annotations map[string]string) {
	in := g.gw.Spec.Infrastructure
	if in == nil {
		return nil, nil
	}
	labels, annotations = map[string]string{}, map[string]string{}
	for k, v := range in.Labels {
		if !own(string(k)) {
			labels[string(k)] = string(v)
		}
	}
	for k, v := range in.Annotations {
		if !own(string(k)) {
			annotations[string(k)] = string(v)
		}
	}
	return labels, annotations
}

// own tells whether a label or annotation is Tulle's to set.
func own(key string) bool { return strings.HasPrefix(key, names.Group+"/") }

// GatewayPorts are the ports of a Gateway's Service: those of its listeners, each once, by number. The
// same number may be a port for TCP and one for UDP. Of its ListenerSets those listeners count that the
// control plane has accepted: it alone knows which sets the Gateway lets in and who wins a conflict.
func GatewayPorts(gw *gwapiv1.Gateway, sets ...gwapiv1.ListenerSet) []corev1.ServicePort {
	var out []corev1.ServicePort
	listeners := slices.Clone(gw.Spec.Listeners)
	for i := range sets {
		listeners = append(listeners, acceptedListeners(&sets[i])...)
	}
	for _, l := range listeners {
		protocol := corev1.ProtocolTCP
		if l.Protocol == gwapiv1.UDPProtocolType {
			protocol = corev1.ProtocolUDP
		}
		if slices.ContainsFunc(out, func(p corev1.ServicePort) bool { return p.Port == l.Port && p.Protocol == protocol }) {
			continue
		}
		out = append(out, corev1.ServicePort{
			Name:       portName(l),
			Port:       l.Port,
			TargetPort: intstr.FromInt32(l.Port),
			Protocol:   protocol,
		})
	}
	slices.SortFunc(out, func(a, b corev1.ServicePort) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
	})
	return out
}

func acceptedListeners(set *gwapiv1.ListenerSet) []gwapiv1.Listener {
	if !apimeta.IsStatusConditionTrue(set.Status.Conditions, string(gwapiv1.ListenerSetConditionAccepted)) {
		return nil
	}
	var out []gwapiv1.Listener
	for _, l := range set.Spec.Listeners {
		if slices.ContainsFunc(set.Status.Listeners, func(s gwapiv1.ListenerEntryStatus) bool {
			return s.Name == l.Name && apimeta.IsStatusConditionTrue(s.Conditions, string(gwapiv1.ListenerEntryConditionAccepted))
		}) {
			out = append(out, gwapiv1.Listener(l))
		}
	}
	return out
}

// portName is "https-443"; protocols outside the Gateway API's own may not be port names.
func portName(l gwapiv1.Listener) string {
	switch l.Protocol {
	case gwapiv1.HTTPProtocolType, gwapiv1.HTTPSProtocolType, gwapiv1.TLSProtocolType, gwapiv1.TCPProtocolType, gwapiv1.UDPProtocolType:
		return strings.ToLower(string(l.Protocol)) + "-" + strconv.Itoa(int(l.Port))
	}
	return "port-" + strconv.Itoa(int(l.Port))
}

func (g gateway) service(ports []corev1.ServicePort) Object {
	s := &corev1.Service{
		ObjectMeta: g.meta(),
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceType(cmp.Or(string(g.Mesh.Spec.Gateway.ServiceType), string(corev1.ServiceTypeLoadBalancer))),
			Selector: g.selector(),
			Ports:    ports,
		},
	}
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		s.Spec.LoadBalancerIP = g.wantedIP()
	}
	return object("v1", "Service", s)
}

// wantedIP is the first address that the Gateway asks for by its value; "": any will do. A Service can
// ask for one. Those that it does not get the control plane tells of, in condition Programmed.
func (g gateway) wantedIP() string {
	for _, a := range g.gw.Spec.Addresses {
		if _, err := netip.ParseAddr(a.Value); err == nil && (a.Type == nil || *a.Type == gwapiv1.IPAddressType) {
			return a.Value
		}
	}
	return ""
}

func (g gateway) disruptionBudget() Object {
	return object("policy/v1", "PodDisruptionBudget", &policyv1.PodDisruptionBudget{
		ObjectMeta: g.meta(),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable:             ptr(intstr.FromInt32(1)),
			Selector:                   &metav1.LabelSelector{MatchLabels: g.selector()},
			UnhealthyPodEvictionPolicy: ptr(policyv1.AlwaysAllow),
		},
	})
}

func (g gateway) deployment() Object {
	meta := g.meta()
	template := metav1.ObjectMeta{
		Labels: merged(meta.Labels, g.selector(), map[string]string{
			names.LabelRevision: g.Release.Revision(),
			names.LabelVersion:  g.Release.Version,
			// It is a proxy and gets none.
			names.LabelInject: names.InjectDisabled,
		}),
		Annotations: meta.Annotations,
	}
	return object("apps/v1", "Deployment", &appsv1.Deployment{
		ObjectMeta: meta,
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr(g.replicas()),
			Selector: &metav1.LabelSelector{MatchLabels: g.selector()},
			Strategy: appsv1.DeploymentStrategy{
				Type: appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{
					MaxUnavailable: ptr(intstr.FromInt32(0)),
					MaxSurge:       ptr(intstr.FromInt32(1)),
				},
			},
			ProgressDeadlineSeconds: ptr(int32(120)),
			RevisionHistoryLimit:    ptr(int32(2)),
			Template:                corev1.PodTemplateSpec{ObjectMeta: template, Spec: g.podSpec()},
		},
	})
}

func (g gateway) podSpec() corev1.PodSpec {
	s := slots.Spec{
		Image:            g.Release.ProxyImage,
		Kind:             names.KindGateway,
		Gateway:          g.gw.Name,
		TrustDomain:      g.Mesh.Spec.TrustDomain,
		ControlPlaneHost: slots.ControlPlaneHost(names.ControlPlaneService, g.Namespace),
		Resources:        g.Mesh.Spec.Gateway.Resources,
	}
	if len(s.Resources.Requests) == 0 && len(s.Resources.Limits) == 0 {
		s.Resources = g.Mesh.Spec.Proxy.Resources
	}
	drain := int64(g.Mesh.Spec.Proxy.DrainTime.Seconds())
	p := corev1.PodSpec{
		ServiceAccountName:            names.GatewayResource(g.gw.Name),
		AutomountServiceAccountToken:  ptr(false),
		TerminationGracePeriodSeconds: ptr(drain + drainMargin),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot:   ptr(true),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			// A listener's port is the port that Envoy binds, without any capability for it.
			Sysctls: []corev1.Sysctl{{Name: "net.ipv4.ip_unprivileged_port_start", Value: "0"}},
		},
		InitContainers: slots.Containers(s),
		Containers:     []corev1.Container{slots.Hold(s)},
		Volumes:        slots.Volumes(s),
	}
	place(&p, g.Mesh.Spec.Gateway.Placement, g.selector())
	return p
}
