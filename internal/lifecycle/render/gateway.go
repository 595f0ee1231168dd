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
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/gatewayspec"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/slots"
)

// drainMargin is what a gateway pod gets to end beyond the drain time of its proxy, in seconds.
const drainMargin = 15

// Standing is what the objects of a Gateway depend on beside the specs: what is in the cluster already.
type Standing struct {
	// Replicas is the number to write to the Deployment; nil leaves the number to whoever set it.
	Replicas *int32
	// Service is the name of the Gateway's Service. If empty, it is names.GatewayService.
	Service string
}

// Gateway returns the objects that serve a Gateway. They are in its namespace and owned by it, so that
// they are deleted with it. A Gateway without a port to serve has no Service. sets are its ListenerSets.
// gw must not be refused (gatewayspec.Refuse).
func Gateway(in Input, gw *gwapiv1.Gateway, st Standing, sets ...gwapiv1.ListenerSet) []Object {
	g := newGateway(in, gw, st)
	out := GatewayProxies(in, gw, st)
	if ports := GatewayPorts(gw, sets...); len(ports) > 0 {
		out = append(out, g.service(ports))
	}
	if g.scale.Replicas > 1 || g.scale.Autoscaling != nil && g.scale.Autoscaling.Max > 1 {
		out = append(out, g.disruptionBudget())
	}
	if g.scale.Autoscaling != nil {
		out = append(out, g.autoscaler())
	}
	return out
}

// GatewayProxies returns those of a Gateway's objects that its proxies run by: ServiceAccount and Deployment.
func GatewayProxies(in Input, gw *gwapiv1.Gateway, st Standing) []Object {
	g := newGateway(in, gw, st)
	return []Object{
		object("v1", "ServiceAccount", &corev1.ServiceAccount{ObjectMeta: g.meta(), AutomountServiceAccountToken: ptr(false)}),
		g.deployment(),
	}
}

// Scale is how many proxies a Gateway is to have.
type Scale struct {
	// Replicas is the number to start with.
	Replicas int32
	// Autoscaling is nil if the number is fixed.
	Autoscaling *gatewayspec.Autoscaling
}

// GatewayScale returns the Scale of a Gateway: its own settings take precedence over the Mesh's.
func GatewayScale(m *v1alpha1.Mesh, gw *gwapiv1.Gateway) Scale {
	own, _ := gatewayspec.SettingsOf(gw)
	auto := own.Autoscaling
	if a := m.Spec.Gateway.Autoscaling; auto == nil && own.Replicas == nil && a != nil {
		auto = &gatewayspec.Autoscaling{Min: max(a.MinReplicas, 1), Max: a.MaxReplicas, TargetCPUPercent: cmp.Or(a.TargetCPUPercent, gatewayspec.DefaultTargetCPUPercent)}
	}
	switch {
	case auto != nil:
		return Scale{auto.Min, auto}
	case own.Replicas != nil:
		return Scale{*own.Replicas, nil}
	case m.Spec.Gateway.Replicas != nil:
		return Scale{*m.Spec.Gateway.Replicas, nil}
	}
	return Scale{2, nil}
}

// GatewayServiceType returns the type of a Gateway's Service.
func GatewayServiceType(m *v1alpha1.Mesh, gw *gwapiv1.Gateway) corev1.ServiceType {
	if gatewayspec.OnlyClusterAddresses(gw) {
		return corev1.ServiceTypeClusterIP // any other type would give it addresses that it must not have
	}
	own, _ := gatewayspec.SettingsOf(gw)
	return cmp.Or(corev1.ServiceType(own.ServiceType), corev1.ServiceType(m.Spec.Gateway.ServiceType), corev1.ServiceTypeLoadBalancer)
}

type gateway struct {
	Input
	Standing
	gw    *gwapiv1.Gateway
	scale Scale
}

func newGateway(in Input, gw *gwapiv1.Gateway, st Standing) gateway {
	st.Service = cmp.Or(st.Service, names.GatewayService(gw.Name))
	return gateway{in, st, gw, GatewayScale(in.Mesh, gw)}
}

func (g gateway) selector() map[string]string {
	return map[string]string{names.LabelGateway: names.GatewayLabel(g.gw.Name), names.LabelProxy: names.KindGateway}
}

// meta carries the labels and annotations that the Gateway wants on what is made for it
// (GEP-1762); Tulle's own win.
func (g gateway) meta() metav1.ObjectMeta {
	labels, annotations := g.infrastructure()
	return metav1.ObjectMeta{
		Name:        names.GatewayResource(g.gw.Name),
		Namespace:   g.gw.Namespace,
		Labels:      merged(labels, map[string]string{names.LabelManagedBy: names.Operator, names.LabelGateway: names.GatewayLabel(g.gw.Name)}),
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
// control plane has accepted: it alone knows which sets the Gateway lets in and who wins a conflict. A port
// of the proxy itself is never one: its metrics are not for the outside.
func GatewayPorts(gw *gwapiv1.Gateway, sets ...gwapiv1.ListenerSet) []corev1.ServicePort {
	var out []corev1.ServicePort
	listeners := slices.Clone(gw.Spec.Listeners)
	for i := range sets {
		listeners = append(listeners, acceptedListeners(&sets[i])...)
	}
	for _, l := range listeners {
		if names.IsProxyPort(uint16(l.Port)) { //nolint:gosec // the definition allows 1 to 65535
			continue
		}
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
			Type:     GatewayServiceType(g.Mesh, g.gw),
			Selector: g.selector(),
			Ports:    ports,
		},
	}
	s.Name = g.Service
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		s.Spec.LoadBalancerIP = WantedIP(g.gw)
	}
	if s.Spec.Type != corev1.ServiceTypeClusterIP {
		own, _ := gatewayspec.SettingsOf(g.gw)
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicy(cmp.Or(own.ExternalTrafficPolicy, string(g.Mesh.Spec.Gateway.ExternalTrafficPolicy)))
	}
	return object("v1", "Service", s)
}

// WantedIP returns the first address that a Gateway asks for by its value; empty if any will do. A Service
// can ask for one. The control plane reports those that it does not get, in condition Programmed.
func WantedIP(gw *gwapiv1.Gateway) string {
	for _, a := range gw.Spec.Addresses {
		if _, err := netip.ParseAddr(a.Value); err == nil && a.Routability == gwapiv1.GatewayAddressRoutabilityDefault && (a.Type == nil || *a.Type == gwapiv1.IPAddressType) {
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

func (g gateway) autoscaler() Object {
	a := g.scale.Autoscaling
	return object("autoscaling/v2", "HorizontalPodAutoscaler", &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: g.meta(),
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: g.meta().Name},
			MinReplicas:    &a.Min,
			MaxReplicas:    a.Max,
			Metrics: []autoscalingv2.MetricSpec{{
				Type: autoscalingv2.ResourceMetricSourceType,
				Resource: &autoscalingv2.ResourceMetricSource{
					Name:   corev1.ResourceCPU,
					Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &a.TargetCPUPercent},
				},
			}},
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
	if label := template.Labels[names.LabelGateway]; label != g.gw.Name {
		template.Annotations = merged(template.Annotations, map[string]string{names.AnnotationGateway: g.gw.Name})
	}
	return object("apps/v1", "Deployment", &appsv1.Deployment{
		ObjectMeta: meta,
		Spec: appsv1.DeploymentSpec{
			Replicas: g.Standing.Replicas,
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
