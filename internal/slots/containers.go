// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package slots

import (
	"encoding/json"
	"path"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// ContainerHold is the one ordinary container of a gateway pod, see Hold.
const ContainerHold = "tulle-gateway"

// InitContainers are all that injection puts before a pod's own init containers: what runs after them
// has a working network.
func InitContainers(s Spec) []corev1.Container {
	out := append([]corev1.Container{Init(s)}, Containers(s)...)
	return append(out, Wait(s))
}

// Containers are the two slots, to be put among the init containers (a native sidecar is an init
// container that restarts), after Init and before Wait.
//
// They have no startup or readiness probe: a standby that is waiting, or whose image is being
// replaced, would make the pod NotReady. They have no postStart hook either: while one runs, the kubelet
// does not even begin to delete the pod. The application's start is held by Wait.
func Containers(s Spec) []corev1.Container {
	if s.Single {
		return []corev1.Container{slot(s, names.ContainerSlotA, "a", whole)}
	}
	first, second := half, half
	if s.Resizable {
		first, second = most, little
	}
	return []corev1.Container{slot(s, names.ContainerSlotA, "a", first), slot(s, names.ContainerSlotB, "b", second)}
}

func slot(s Spec, name, id string, part share) corev1.Container {
	always := corev1.ContainerRestartPolicyAlways
	c := corev1.Container{
		Name:            name,
		Image:           s.Image,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Command:         []string{protocol.SlotCommand, "run"},
		Env:             env(s, id),
		Resources:       slotResources(s.Resources, part),
		RestartPolicy:   &always,
		SecurityContext: Restricted(),
		VolumeMounts: []corev1.VolumeMount{
			{Name: names.VolumeRun, MountPath: protocol.RunDir},
			{Name: names.VolumeToken, MountPath: path.Dir(protocol.TokenFile), ReadOnly: true},
			{Name: names.VolumeTrust, MountPath: path.Dir(protocol.TrustFile), ReadOnly: true},
			{Name: names.VolumePod, MountPath: protocol.PodDir, ReadOnly: true},
		},
		// The proxy ends when its connections have.
		Lifecycle: &corev1.Lifecycle{
			PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{protocol.SlotCommand, "drain"}}},
		},
	}
	if s.Kind != names.KindGateway {
		c.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	}
	return c
}

// Wait is the init container that holds the application's start until a slot is ready. It is an ordinary
// one: the kubelet ends it with the pod. It never fails, because that would end a pod that is not to be
// restarted; a slot says why it is not ready (slot.Run).
func Wait(s Spec) corev1.Container {
	return corev1.Container{
		Name:                     names.ContainerWait,
		Image:                    s.Image,
		ImagePullPolicy:          corev1.PullIfNotPresent,
		Command:                  []string{protocol.SlotCommand, "hold-start"},
		Resources:                waitResources(s.Resources),
		SecurityContext:          Restricted(),
		VolumeMounts:             []corev1.VolumeMount{{Name: names.VolumeRun, MountPath: protocol.RunDir}},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
}

// env is the environment of a slot, in a fixed order. Empty values are left out.
func env(s Spec, id string) []corev1.EnvVar {
	out := []corev1.EnvVar{
		{Name: protocol.EnvSlot, Value: id},
		{Name: protocol.EnvKind, Value: s.Kind},
		field(protocol.EnvPod, "metadata.name"),
		field(protocol.EnvPodUID, "metadata.uid"),
		field(protocol.EnvPodIPs, "status.podIPs"),
		field(protocol.EnvNamespace, "metadata.namespace"),
		field(protocol.EnvServiceAccount, "spec.serviceAccountName"),
		field(protocol.EnvNode, "spec.nodeName"),
		{Name: protocol.EnvTrustDomain, Value: s.TrustDomain},
		{Name: protocol.EnvControlPlane, Value: s.ControlPlaneHost},
	}
	if s.Gateway != "" {
		out = append(out, corev1.EnvVar{Name: protocol.EnvGateway, Value: s.Gateway})
	}
	if len(s.Probes) > 0 {
		out = append(out, corev1.EnvVar{Name: protocol.EnvProbes, Value: asJSON(s.Probes)})
	}
	if s.AppMetrics != nil {
		out = append(out, corev1.EnvVar{Name: protocol.EnvMetrics, Value: asJSON(s.AppMetrics)})
	}
	return out
}

func field(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path},
	}}
}

// asJSON writes a value as the text of an environment variable. The kubelet expands $(NAME) in
// values, and "$$" is its way to write a dollar.
func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		// Only the protocol's own structs come here: strings, numbers and maps of them.
		panic("slots: " + err.Error())
	}
	return strings.ReplaceAll(string(b), "$", "$$")
}

// Init is the container that sets up the redirection and ends. It is the only one with a
// capability, and root, because netlink refuses anybody else.
func Init(s Spec) corev1.Container {
	cmd := []string{protocol.ProxyCommand, "init"}
	if len(s.ExcludeInboundPorts) > 0 {
		cmd = append(cmd, "--exclude-inbound-ports="+ports(s.ExcludeInboundPorts))
	}
	if len(s.ExcludeOutboundPorts) > 0 {
		cmd = append(cmd, "--exclude-outbound-ports="+ports(s.ExcludeOutboundPorts))
	}
	if len(s.ExcludeOutboundIPs) > 0 {
		cmd = append(cmd, "--exclude-outbound-ips="+strings.Join(s.ExcludeOutboundIPs, ","))
	}
	sc := Restricted()
	sc.RunAsUser, sc.RunAsGroup, sc.RunAsNonRoot = ptr(int64(0)), ptr(int64(0)), ptr(false)
	sc.Capabilities.Add = []corev1.Capability{"NET_ADMIN"}
	return corev1.Container{
		Name:            names.ContainerInit,
		Image:           s.Image,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Command:         cmd,
		Resources:       slotResources(s.Resources, half),
		SecurityContext: sc,

		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
}

// Hold is the ordinary container of a gateway pod: a pod of sidecars alone can't be, and its
// readiness is the proxy's. It waits to be told to stop and lets the slots drain.
func Hold(s Spec) corev1.Container {
	return corev1.Container{
		Name:            ContainerHold,
		Image:           s.Image,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Command:         []string{protocol.SlotCommand, "hold"},
		Env:             []corev1.EnvVar{{Name: protocol.EnvKind, Value: s.Kind}},
		Resources:       holdResources(s.Resources),
		SecurityContext: Restricted(),
		VolumeMounts:    []corev1.VolumeMount{{Name: names.VolumeRun, MountPath: protocol.RunDir}},
		ReadinessProbe: &corev1.Probe{
			ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
				Path: "/ready", Port: intstr.FromInt32(names.PortReady), Scheme: corev1.URISchemeHTTP,
			}},
			PeriodSeconds: 2, TimeoutSeconds: 1, SuccessThreshold: 1, FailureThreshold: 3,
		},
	}
}

// Restricted is the security context that Pod Security "restricted" asks for, as the proxy's user.
func Restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		RunAsUser:                ptr(int64(names.ProxyUID)),
		RunAsGroup:               ptr(int64(names.ProxyUID)),
		RunAsNonRoot:             ptr(true),
		ReadOnlyRootFilesystem:   ptr(true),
		AllowPrivilegeEscalation: ptr(false),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

func ports(list []uint16) string {
	out := make([]string, 0, len(list))
	for _, p := range list {
		out = append(out, strconv.Itoa(int(p)))
	}
	return strings.Join(out, ",")
}

func ptr[T any](v T) *T { return &v }
