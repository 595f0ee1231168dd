// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

// controlPlaneUser is the user of the image; it has no name and owns nothing.
const controlPlaneUser = 65532

// ControlPlane are the objects of one revision of the control plane, but for the Services, which are
// shared by all revisions.
func ControlPlane(in Input) []Object {
	return append(rights(in), deployment(in), disruptionBudget(in))
}

// Service is the stable address of the control plane; it leads to the revision in the input.
func Service(in Input) Object {
	port := func(name string, port, target int32) corev1.ServicePort {
		return corev1.ServicePort{Name: name, Port: port, TargetPort: intstr.FromInt32(target), Protocol: corev1.ProtocolTCP}
	}
	labels := in.labels()
	labels[names.LabelApp] = names.ControlPlaneService
	return object("v1", "Service", &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: names.ControlPlaneService, Namespace: in.Namespace, Labels: labels},
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeClusterIP,
			Selector: in.selector(),
			Ports: []corev1.ServicePort{
				port("ads", names.PortADS, names.PortADS),
				port("sign", names.PortSign, names.PortSign),
				port("webhook", names.PortWebhookIn, names.PortWebhook),
				port("monitor", names.PortMonitor, names.PortMonitor),
			},
		},
	})
}

// Replicas is a Service without an address of its own, which lists the ready replicas of every
// revision. Proxies stay with the replica they have when the address moves to another revision, and
// the replicas must find all of those to say how many proxies have acknowledged something.
func Replicas(in Input) Object {
	labels := in.labels()
	labels[names.LabelApp] = names.ControlPlaneService
	return object("v1", "Service", &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: names.ControlPlaneReplicas, Namespace: in.Namespace, Labels: labels},
		Spec: corev1.ServiceSpec{
			Type:      corev1.ServiceTypeClusterIP,
			ClusterIP: corev1.ClusterIPNone,
			Selector:  map[string]string{names.LabelApp: names.ControlPlaneService},
			Ports: []corev1.ServicePort{
				{Name: "monitor", Port: names.PortMonitor, TargetPort: intstr.FromInt32(names.PortMonitor), Protocol: corev1.ProtocolTCP},
				// By name: EndpointSlices list this port only for pods that have it, so replicas know which of
				// them are of a release without it.
				{Name: names.InternalPortName, Port: names.PortInternal, TargetPort: intstr.FromString(names.InternalPortName), Protocol: corev1.ProtocolTCP},
			},
		},
	})
}

func disruptionBudget(in Input) Object {
	return object("policy/v1", "PodDisruptionBudget", &policyv1.PodDisruptionBudget{
		ObjectMeta: in.meta(),
		Spec: policyv1.PodDisruptionBudgetSpec{
			// One at a time, and never in the way of a node that must be drained.
			MaxUnavailable:             ptr(intstr.FromInt32(1)),
			Selector:                   &metav1.LabelSelector{MatchLabels: in.selector()},
			UnhealthyPodEvictionPolicy: ptr(policyv1.AlwaysAllow),
		},
	})
}

func deployment(in Input) Object {
	spec := in.Mesh.Spec.ControlPlane
	replicas := int32(2)
	if spec.Replicas != nil {
		replicas = *spec.Replicas
	}
	if in.Replicas > 0 {
		replicas = in.Replicas
	}
	return object("apps/v1", "Deployment", &appsv1.Deployment{
		ObjectMeta: in.meta(),
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: in.selector()},
			// A new replica serves before an old one goes.
			Strategy: appsv1.DeploymentStrategy{
				Type: appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{
					MaxUnavailable: ptr(intstr.FromInt32(0)),
					MaxSurge:       ptr(intstr.FromInt32(1)),
				},
			},
			ProgressDeadlineSeconds: ptr(int32(120)),
			RevisionHistoryLimit:    ptr(int32(2)),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					// The control plane's own pods never carry a proxy, whatever their namespace asks for.
					Labels: merged(in.revisioned(), map[string]string{names.LabelInject: names.InjectDisabled}),
				},
				Spec: podSpec(in, spec),
			},
		},
	})
}

func podSpec(in Input, spec v1alpha1.ControlPlane) corev1.PodSpec {
	p := corev1.PodSpec{
		ServiceAccountName:            in.meta().Name,
		TerminationGracePeriodSeconds: ptr(int64(30)),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot:   ptr(true),
			RunAsUser:      ptr(int64(controlPlaneUser)),
			RunAsGroup:     ptr(int64(controlPlaneUser)),
			FSGroup:        ptr(int64(controlPlaneUser)),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{container(in, spec)},
		Volumes: []corev1.Volume{
			{Name: "intermediate", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
				SecretName: names.IntermediateSecret, DefaultMode: ptr(int32(0o440)),
			}}},
			{Name: "trust", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: names.TrustConfigMap}, DefaultMode: ptr(int32(0o444)),
			}}},
		},
	}
	if in.Release.InternalPort() {
		p.Volumes = append(p.Volumes, corev1.Volume{Name: names.InternalPortName, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
				Audience: names.InternalAudience, ExpirationSeconds: ptr(int64(3600)), Path: names.InternalToken,
			}}},
		}}})
	}
	place(&p, spec.Placement, in.selector())
	return p
}

// place puts the pods where the user wants them, or else spreads them over nodes if it can.
func place(p *corev1.PodSpec, where v1alpha1.Placement, selector map[string]string) {
	p.NodeSelector = where.NodeSelector
	p.Tolerations = where.Tolerations
	p.Affinity = where.Affinity
	p.PriorityClassName = where.PriorityClassName
	if where.Affinity != nil {
		return
	}
	p.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		MaxSkew:           1,
		TopologyKey:       corev1.LabelHostname,
		WhenUnsatisfiable: corev1.ScheduleAnyway,
		LabelSelector:     &metav1.LabelSelector{MatchLabels: selector},
	}}
}

func container(in Input, spec v1alpha1.ControlPlane) corev1.Container {
	port := func(name string, n int32) corev1.ContainerPort {
		return corev1.ContainerPort{Name: name, ContainerPort: n, Protocol: corev1.ProtocolTCP}
	}
	probe := func(path string, period, failures int32) *corev1.Probe {
		return &corev1.Probe{
			ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
				Path: path, Port: intstr.FromString("monitor"), Scheme: corev1.URISchemeHTTP,
			}},
			PeriodSeconds: period, FailureThreshold: failures, TimeoutSeconds: 2, SuccessThreshold: 1,
		}
	}
	field := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path},
		}}
	}
	c := corev1.Container{
		Name:            names.ContainerControlPlane,
		Image:           in.Release.Image,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Command:         []string{"/tulle", "controlplane"},
		Args: []string{
			"--mesh=" + in.Mesh.Name,
			"--revision=" + in.Release.Revision(),
			"--version=" + in.Release.Version,
			"--proxy-image=" + in.Release.ProxyImage,
			"--system-namespace=" + in.Namespace,
		},
		Env: []corev1.EnvVar{
			field(names.EnvControlPlanePod, "metadata.name"),
			field(names.EnvControlPlaneIP, "status.podIP"),
		},
		Ports: []corev1.ContainerPort{
			port("ads", names.PortADS), port("sign", names.PortSign),
			port("webhook", names.PortWebhook), port("monitor", names.PortMonitor),
		},
		Resources:      controlPlaneResources(spec.Resources),
		ReadinessProbe: probe(names.PathReady, 2, 3),
		LivenessProbe:  probe(names.PathLive, 10, 6),
		SecurityContext: &corev1.SecurityContext{
			ReadOnlyRootFilesystem:   ptr(true),
			AllowPrivilegeEscalation: ptr(false),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		VolumeMounts: []corev1.VolumeMount{
			{Name: "intermediate", MountPath: names.IntermediateDir, ReadOnly: true},
			{Name: "trust", MountPath: names.TrustDir, ReadOnly: true},
		},
	}
	if in.Release.InternalPort() {
		c.Ports = append(c.Ports, port(names.InternalPortName, names.PortInternal))
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: names.InternalPortName, MountPath: names.InternalTokenDir, ReadOnly: true})
	}
	return c
}

// ControlPlaneCPU is the CPU that each replica of the control plane requests, in cores; 0: none.
func ControlPlaneCPU(m *v1alpha1.Mesh) float64 {
	requests := controlPlaneResources(m.Spec.ControlPlane.Resources).Requests
	return requests.Cpu().AsApproximateFloat64()
}

// controlPlaneResources is enough for some hundreds of Services and proxies.
func controlPlaneResources(r corev1.ResourceRequirements) corev1.ResourceRequirements {
	if len(r.Requests) > 0 || len(r.Limits) > 0 {
		return r
	}
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("50m"),
			corev1.ResourceMemory: resource.MustParse("96Mi"),
		},
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
	}
}
