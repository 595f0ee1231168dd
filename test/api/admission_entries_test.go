// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/slots"
)

// ownContainers are the names of the containers of the mesh's pods.
var ownContainers = []string{
	names.ContainerControlPlane, names.ContainerImage, slots.ContainerHold, names.ContainerInit, names.ContainerWait, names.ContainerSlotA, names.ContainerSlotB,
}

// notOfContext are changes of a container that no entry allows of the mesh's own containers.
func notOfContext() map[string]func(*corev1.PodSpec, *corev1.Container) {
	secret := corev1.LocalObjectReference{Name: "tulle-root"}
	return map[string]func(*corev1.PodSpec, *corev1.Container){
		"a command":   func(_ *corev1.PodSpec, c *corev1.Container) { c.Command = []string{"/usr/local/bin/envoy"} },
		"no command":  func(_ *corev1.PodSpec, c *corev1.Container) { c.Command = nil },
		"an argument": func(_ *corev1.PodSpec, c *corev1.Container) { c.Args = []string{"-c", "/x"} },
		"all of a Secret": func(_ *corev1.PodSpec, c *corev1.Container) {
			c.EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: secret}}}
		},
		"a Secret's variable": func(_ *corev1.PodSpec, c *corev1.Container) {
			c.Env = append(c.Env, corev1.EnvVar{Name: "X", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: secret, Key: "tls.key"}}})
		},
		"a library to load": func(_ *corev1.PodSpec, c *corev1.Container) {
			c.Env = append(c.Env, corev1.EnvVar{Name: "LD_PRELOAD", Value: "/x.so"})
		},
		"a Secret": func(p *corev1.PodSpec, c *corev1.Container) {
			p.Volumes = append(p.Volumes, corev1.Volume{Name: "x", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "tulle-root"}}})
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "x", MountPath: "/mnt/x"})
		},
		"a ConfigMap over a program": func(p *corev1.PodSpec, c *corev1.Container) {
			p.Volumes = append(p.Volumes, corev1.Volume{Name: "x", VolumeSource: configMap(names.TrustConfigMap)})
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "x", MountPath: "/tulle-slot", SubPath: "x"})
		},
		"a probe of a host": func(_ *corev1.PodSpec, c *corev1.Container) {
			c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Host: "192.0.2.1", Path: "/", Port: intstr.FromInt32(80)}}}
		},
		"privileges": func(_ *corev1.PodSpec, c *corev1.Container) {
			c.SecurityContext.Privileged, c.SecurityContext.AllowPrivilegeEscalation = ptr(true), nil
		},
		"escalation": func(_ *corev1.PodSpec, c *corev1.Container) { c.SecurityContext.AllowPrivilegeEscalation = ptr(true) },
		"a capability": func(_ *corev1.PodSpec, c *corev1.Container) {
			c.SecurityContext.Capabilities.Add = []corev1.Capability{"NET_ADMIN"}
		},
		"all capabilities of the runtime": func(_ *corev1.PodSpec, c *corev1.Container) {
			c.SecurityContext.Capabilities = nil
		},
		"no security context": func(_ *corev1.PodSpec, c *corev1.Container) { c.SecurityContext = nil },
		"root's number": func(_ *corev1.PodSpec, c *corev1.Container) {
			c.SecurityContext.RunAsUser, c.SecurityContext.RunAsNonRoot = ptr(int64(0)), nil
		},
		"root's group": func(_ *corev1.PodSpec, c *corev1.Container) { c.SecurityContext.RunAsGroup = ptr(int64(0)) },
		"root":         func(_ *corev1.PodSpec, c *corev1.Container) { c.SecurityContext.RunAsNonRoot = ptr(false) },
		"no seccomp": func(_ *corev1.PodSpec, c *corev1.Container) {
			c.SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}
		},
		"no AppArmor": func(_ *corev1.PodSpec, c *corev1.Container) {
			c.SecurityContext.AppArmorProfile = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
		},
	}
}

// TestEntriesAreNarrow: an entry of tulle.dev/admission-adds gives a stolen token no more than what it is for.
// That of a container is not for the mesh's own ones; that of a security context is for profiles; neither is for
// privileges and capabilities.
func TestEntriesAreNarrow(t *testing.T) {
	c := stolen(t)
	namespace(t, "entries", nil)
	mesh, gateway := rendered("entries")
	proxies := typed(t, of(t, gateway, "Deployment"), &appsv1.Deployment{})
	control := typed(t, of(t, mesh, "Deployment"), &appsv1.Deployment{})
	control.Name, control.Spec.Template.Spec.ServiceAccountName = "tulle-controlplane-0-2-8", "tulle-controlplane-0-2-8"
	for _, p := range []corev1.PodSpec{proxies.Spec.Template.Spec, control.Spec.Template.Spec, typed(t, of(t, mesh, "DaemonSet"), &appsv1.DaemonSet{}).Spec.Template.Spec} {
		for _, c := range slices.Concat(p.InitContainers, p.Containers) {
			if !slices.Contains(ownContainers, c.Name) {
				t.Errorf("container %s is not in the list of the mesh's own", c.Name)
			}
		}
	}
	entries := []string{"container:logs", "securityContext:logs"}
	for _, n := range ownContainers {
		entries = append(entries, "container:"+n, "securityContext:"+n)
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: names.ImagesRole}}
	annotate := func(adds string) {
		update(t, role, func() { metav1.SetMetaDataAnnotation(&role.ObjectMeta, "tulle.dev/admission-adds", adds) })
	}
	annotate(strings.Join(entries, " "))
	defer annotate("")
	with := func(d *appsv1.Deployment, how func(*corev1.PodSpec)) *appsv1.Deployment {
		d = d.DeepCopy()
		how(&d.Spec.Template.Spec)
		return d
	}
	// What the entries allow.
	sidecar := func(p *corev1.PodSpec) {
		p.Containers = append(p.Containers, corev1.Container{Name: "logs", Image: p.Containers[0].Image, Command: []string{"/logs"}})
	}
	profiles := func(p *corev1.PodSpec) {
		s := p.Containers[0].SecurityContext
		s.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: ptr("x.json")}
		s.AppArmorProfile = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: ptr("x")}
		s.SELinuxOptions = &corev1.SELinuxOptions{Level: "s0:c1"}
	}
	for _, d := range []*appsv1.Deployment{proxies, control} {
		eventually(t, "the entries work", func() string {
			for _, how := range []func(*corev1.PodSpec){sidecar, profiles} {
				if err := create(t, with(d, how))(c); err != nil {
					return err.Error()
				}
			}
			return ""
		})
	}
	attacks := map[string]attack{}
	for what, d := range map[string]*appsv1.Deployment{"a Gateway's": proxies, "the control plane's": control} {
		live := d.DeepCopy()
		if err := admin.Create(t.Context(), live); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = admin.Delete(context.WithoutCancel(t.Context()), live) })
		other := d.DeepCopy() // none of the name is there
		if other.OwnerReferences == nil {
			other.Name = "tulle-controlplane-0-2-9"
		} else {
			other.Name, other.OwnerReferences[0].Name = "other-tulle", "other"
		}
		other.Spec.Template.Spec.ServiceAccountName = other.Name
		for name, how := range notOfContext() {
			attacks[what+" with "+name] = create(t, with(other, func(p *corev1.PodSpec) { how(p, &p.Containers[0]) }))
			if len(other.Spec.Template.Spec.InitContainers) > 0 && name != "a probe of a host" { // the slots have no probes
				attacks[what+" whose slot has "+name] = create(t, with(other, func(p *corev1.PodSpec) { how(p, &p.InitContainers[0]) }))
			}
			attacks[what+" gets "+name] = change(t, live, func(d *appsv1.Deployment) { how(&d.Spec.Template.Spec, &d.Spec.Template.Spec.Containers[0]) })
		}
		// None of the mesh's names stands for any container, wherever it is.
		for _, n := range ownContainers {
			p := d.Spec.Template.Spec
			if slices.ContainsFunc(slices.Concat(p.InitContainers, p.Containers), func(c corev1.Container) bool { return c.Name == n }) {
				continue
			}
			for where, list := range map[string]func(*corev1.PodSpec) *[]corev1.Container{
				"a container":       func(p *corev1.PodSpec) *[]corev1.Container { return &p.Containers },
				"an init container": func(p *corev1.PodSpec) *[]corev1.Container { return &p.InitContainers },
			} {
				attacks[what+" with "+where+" "+n] = create(t, with(other, func(p *corev1.PodSpec) {
					*list(p) = append(*list(p), corev1.Container{Name: n, Image: p.Containers[0].Image, Command: []string{"/usr/local/bin/envoy"}})
				}))
			}
		}
		for name, s := range map[string]*corev1.SecurityContext{
			"privileges":   {Privileged: ptr(true)},
			"a capability": {Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"SYS_ADMIN"}}},
		} {
			attacks[what+" with a sidecar with "+name] = create(t, with(other, func(p *corev1.PodSpec) {
				sidecar(p)
				p.Containers[1].SecurityContext = s
			}))
		}
	}
	for name, do := range attacks {
		t.Run(name, func(t *testing.T) {
			if err := do(admin); err != nil {
				t.Fatalf("the attack does not even work for an administrator: %v", err)
			}
			if err := do(c); err == nil || !strings.Contains(err.Error(), names.TemplateFence) {
				t.Error(errorText(err))
			}
		})
	}
	// The message proposes no entry where none would help.
	err := create(t, with(proxies, func(p *corev1.PodSpec) {
		p.Containers[0].SecurityContext.Privileged = ptr(true)
		p.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil
	}))(c)
	if err == nil || strings.Contains(err.Error(), "kubectl annotate") || !strings.Contains(err.Error(), "No entry of tulle.dev/admission-adds allows this of "+proxies.Spec.Template.Spec.Containers[0].Name) {
		t.Errorf("a privileged proxy: %s", errorText(err))
	}
}
