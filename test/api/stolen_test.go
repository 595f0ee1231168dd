// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/names"
)

// attack is something to do; the client decides as whom. Dry runs leave nothing behind.
type attack func(client.Client) error

func create(t *testing.T, o client.Object) attack {
	return func(c client.Client) error {
		return c.Create(t.Context(), o.DeepCopyObject().(client.Object), client.DryRunAll)
	}
}

func remove(t *testing.T, o client.Object) attack {
	return func(c client.Client) error { return c.Delete(t.Context(), o, client.DryRunAll) }
}

func change[O client.Object](t *testing.T, of O, how func(O)) attack {
	return func(c client.Client) error {
		after := of.DeepCopyObject().(O)
		how(after)
		return c.Patch(t.Context(), after, client.MergeFrom(of), client.DryRunAll)
	}
}

// refusedToOperator runs attacks: they work for an administrator and are refused to the operator's account
// by a policy. A policy works some time after it was made.
func refusedToOperator(t *testing.T, c client.Client, attacks map[string]attack) {
	t.Helper()
	for name, do := range attacks {
		t.Run(name, func(t *testing.T) {
			if err := do(admin); err != nil {
				t.Fatalf("the attack does not even work for an administrator: %v", err)
			}
			eventually(t, "refused", func() string {
				switch err := do(c); {
				case err == nil:
					return "it is let through"
				case !strings.Contains(err.Error(), "the operator"):
					return err.Error()
				}
				return ""
			})
		})
	}
}

var byOperator = map[string]string{names.LabelManagedBy: names.Operator}

// gatewayObject is the metadata that the operator gives to what it makes for a Gateway.
func gatewayObject(ns, gateway string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: ns, Name: gateway + "-tulle", Labels: map[string]string{names.LabelManagedBy: names.Operator, names.LabelGateway: gateway},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: gwapiv1.GroupVersion.String(), Kind: "Gateway", Name: gateway, UID: types.UID("1"), Controller: ptr(true)}},
	}
}

// rendered are the objects of a mesh in stolenHome, and of a Gateway in a namespace.
func rendered(ns string) (mesh, gateway []render.Object) {
	known := release.Known("tulle.test/tulle:1", "tulle.test/proxy:1")
	rel, _ := known.Find(release.Current)
	m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}, Spec: v1alpha1.MeshSpec{Version: rel.Version, TrustDomain: "cluster.local"}}
	in := render.Input{Mesh: m, Release: rel, Namespace: stolenHome, Anchors: "x"}
	mesh = append(render.ControlPlane(in), render.Service(in), render.Replicas(in), render.Webhook(in), render.Images(in), render.Trust("tulle", ns, render.TrustData{Roots: "x"}))
	gw := &gwapiv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "edge", UID: types.UID("1")}, Spec: gwapiv1.GatewaySpec{
		GatewayClassName: "tulle", Listeners: []gwapiv1.Listener{listener("http", 80, "HTTP")},
	}}
	annotate(gw, map[string]string{"tulle.dev/min-replicas": "2", "tulle.dev/max-replicas": "4"})
	return mesh, render.Gateway(in, gw, render.Standing{Replicas: ptr(int32(2))})
}

func of(t *testing.T, list []render.Object, kind string) render.Object {
	t.Helper()
	for _, o := range list {
		if o.GetKind() == kind {
			return o
		}
	}
	t.Fatalf("no %s is rendered", kind)
	return nil
}

// TestStolenTokenMayDoTheWork: what the operator makes is accepted, though its account has no rights but
// what the policies leave.
func TestStolenTokenMayDoTheWork(t *testing.T) {
	c := stolen(t)
	namespace(t, "stolen-accepted", nil)
	mesh, gateway := rendered("stolen-accepted")
	if len(gateway) < 5 {
		t.Fatalf("the Gateway has %d objects", len(gateway))
	}
	for _, o := range append(mesh, gateway...) {
		for range 2 { // created, and applied again
			err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o.DeepCopy()), client.FieldOwner(names.FieldManager), client.ForceOwnership)
			if err != nil {
				t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
			}
		}
	}
	for _, o := range append(mesh, gateway...) {
		if err := c.Delete(t.Context(), o.DeepCopy()); err != nil {
			t.Errorf("delete %s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

// TestStolenTokenOnOthers: with the operator's token, nothing of others is changed, deleted or imitated.
func TestStolenTokenOnOthers(t *testing.T) {
	c := stolen(t)
	namespace(t, "stolen-others", nil)
	labels := map[string]string{"app": "dns"}
	pods := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "registry.example/app:1"}}}}
	theirs := metav1.ObjectMeta{Namespace: "stolen-others", Name: "theirs"}
	workload := &appsv1.Deployment{ObjectMeta: theirs, Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: pods}}
	service := &corev1.Service{ObjectMeta: theirs, Spec: corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 53}}}}
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "stolen-others", Name: names.TrustConfigMap}}
	account := &corev1.ServiceAccount{ObjectMeta: theirs}
	victim := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "stolen-victim"}, Spec: pods.Spec}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "stolen-others"}}
	hook := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "stolen-others"}}
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: theirs, Spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: ptr(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: labels}}}
	for _, o := range []client.Object{workload, service, config, account, victim, role, hook, budget} {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	evil := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "evil"}, Spec: *workload.Spec.DeepCopy()}
	labelled := evil.DeepCopy()
	labelled.Labels = byOperator
	called := labelled.DeepCopy()
	called.Name = "tulle-controlplane-0-3-0"
	set := &appsv1.StatefulSet{ObjectMeta: labelled.ObjectMeta, Spec: appsv1.StatefulSetSpec{Selector: evil.Spec.Selector, Template: pods}}
	daemons := &appsv1.DaemonSet{ObjectMeta: labelled.ObjectMeta, Spec: appsv1.DaemonSetSpec{Selector: evil.Spec.Selector, Template: pods}}
	attacks := map[string]attack{
		"a Deployment":                        create(t, evil),
		"a Deployment with the label":         create(t, labelled),
		"a Deployment with a known name":      create(t, called),
		"a StatefulSet":                       create(t, set),
		"a DaemonSet":                         create(t, daemons),
		"a Deployment deleted":                remove(t, workload),
		"a Deployment claimed":                change(t, workload, func(d *appsv1.Deployment) { d.Labels = byOperator }),
		"a Deployment's image":                change(t, workload, func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "evil" }),
		"a Service's selector":                change(t, service, func(s *corev1.Service) { s.Spec.Selector = map[string]string{"a": "b"} }),
		"a Service claimed":                   change(t, service, func(s *corev1.Service) { s.Labels = byOperator }),
		"a Service deleted":                   remove(t, service),
		"a Service":                           create(t, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "stolen-others", Name: "new", Labels: byOperator}, Spec: service.Spec}),
		"an account":                          create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "evil", Labels: byOperator}}),
		"an account deleted":                  remove(t, account),
		"an account's annotation":             change(t, account, func(a *corev1.ServiceAccount) { a.Annotations = map[string]string{"role": "admin"} }),
		"a ConfigMap":                         create(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "evil", Labels: byOperator}}),
		"a ConfigMap of the name, unlabelled": change(t, config, func(m *corev1.ConfigMap) { m.Data = map[string]string{"a": "b"} }),
		"a ClusterRole":                       create(t, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "evil", Labels: byOperator}}),
		"a ClusterRole of others":             change(t, role, func(r *rbacv1.ClusterRole) { r.Labels = byOperator }),
		"a ClusterRole deleted":               remove(t, role),
		"a budget":                            create(t, &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "evil", Labels: byOperator}, Spec: budget.Spec}),
		"a budget deleted":                    remove(t, budget),
		"a webhook of others":                 change(t, hook, func(h *admissionv1.MutatingWebhookConfiguration) { h.Labels = byOperator }),
		"a webhook deleted":                   remove(t, hook),
		"an autoscaler": create(t, &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: "stolen-others", Name: "evil", Labels: byOperator}, Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "theirs"}, MaxReplicas: 100,
		}}),
		"a Role elsewhere": create(t, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: controlPlane, Labels: byOperator}}),
		"a pod of kube-system": func(c client.Client) error {
			return c.SubResource("eviction").Create(t.Context(), victim, &policyv1.Eviction{
				ObjectMeta: metav1.ObjectMeta{Namespace: victim.Namespace, Name: victim.Name}, DeleteOptions: &metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}},
			})
		},
	}
	refusedToOperator(t, c, attacks)
}

// TestStolenTokenOnPods: a Deployment that looks like one of the operator's is still not any Deployment, nor
// does one become any.
func TestStolenTokenOnPods(t *testing.T) {
	c := stolen(t)
	namespace(t, "stolen-pods", nil)
	mesh, gateway := rendered("stolen-pods")
	proxies := typed(t, of(t, gateway, "Deployment"), &appsv1.Deployment{})
	proxies.Name, proxies.OwnerReferences[0].Name, proxies.Spec.Template.Spec.ServiceAccountName = "pods-tulle", "pods", "pods-tulle"
	control := typed(t, of(t, mesh, "Deployment"), &appsv1.Deployment{})
	control.Name, control.Spec.Template.Spec.ServiceAccountName = "tulle-controlplane-9-9-9", "tulle-controlplane-9-9-9"
	images := typed(t, of(t, mesh, "DaemonSet"), &appsv1.DaemonSet{})
	images.Name = "tulle-images-9-9-9"
	if err := c.Create(t.Context(), images.DeepCopy(), client.DryRunAll); err != nil {
		t.Fatalf("DaemonSet as it is: %v", err)
	}
	imagesLive := images.DeepCopy()
	if err := admin.Create(t.Context(), imagesLive); err != nil {
		t.Fatal(err)
	}
	for what, d := range map[string]*appsv1.Deployment{"a Gateway's": proxies, "the control plane's": control} {
		if err := c.Create(t.Context(), d.DeepCopy(), client.DryRunAll); err != nil {
			t.Fatalf("%s Deployment as it is: %v", what, err)
		}
		live := d.DeepCopy()
		if err := admin.Create(t.Context(), live); err != nil {
			t.Fatal(err)
		}
		attacks := map[string]attack{}
		for name, how := range map[string]func(p *corev1.PodSpec){
			"a path of the node": func(p *corev1.PodSpec) {
				p.Volumes = append(p.Volumes, corev1.Volume{Name: "x", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}})
			},
			"a Secret": func(p *corev1.PodSpec) {
				p.Volumes = append(p.Volumes, corev1.Volume{Name: "x", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "tulle-root"}}})
			},
			"a projected Secret": func(p *corev1.PodSpec) {
				p.Volumes = append(p.Volumes, corev1.Volume{Name: "x", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
					{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "tulle-root"}}},
				}}}})
			},
			"the roots over a program": func(p *corev1.PodSpec) {
				p.Volumes = append(p.Volumes, corev1.Volume{Name: "x", VolumeSource: configMap(names.TrustConfigMap)})
				p.Containers[0].VolumeMounts = append(p.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "x", MountPath: "/tulle-slot", SubPath: "x"})
			},
			"other roots": func(p *corev1.PodSpec) {
				i := slices.IndexFunc(p.Volumes, func(v corev1.Volume) bool { return v.ConfigMap != nil || v.Projected != nil })
				p.Volumes[i].VolumeSource = configMap("x")
			},
			"a claim": func(p *corev1.PodSpec) {
				p.Volumes = append(p.Volumes, corev1.Volume{Name: "x", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "x"}}})
			},
			"a CSI volume": func(p *corev1.PodSpec) {
				p.Volumes = append(p.Volumes, corev1.Volume{Name: "x", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "x.example"}}})
			},
			"the node's network":   func(p *corev1.PodSpec) { p.HostNetwork, p.SecurityContext.Sysctls = true, nil },
			"the node's processes": func(p *corev1.PodSpec) { p.HostPID = true },
			"the node's IPC":       func(p *corev1.PodSpec) { p.HostIPC = true },
			"a node":               func(p *corev1.PodSpec) { p.NodeName = "control-plane" },
			"a runtime":            func(p *corev1.PodSpec) { p.RuntimeClassName = ptr("other") },
			"a probe of a host": func(p *corev1.PodSpec) {
				p.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Host: "192.0.2.1", Path: "/", Port: intstr.FromInt32(80)}}}
			},
			"a command as a probe": func(p *corev1.PodSpec) {
				p.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/x"}}}}
			},
			"a command as a hook": func(p *corev1.PodSpec) {
				p.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"/x"}}}}
			},
			"a hook to a host": func(p *corev1.PodSpec) {
				p.Containers[0].Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Host: "192.0.2.1", Path: "/", Port: intstr.FromInt32(80)}}}
			},
			"another account":     func(p *corev1.PodSpec) { p.ServiceAccountName = "default" },
			"privileges":          func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.AllowPrivilegeEscalation = ptr(true) },
			"no security context": func(p *corev1.PodSpec) { p.Containers[0].SecurityContext = nil },
			"a capability": func(p *corev1.PodSpec) {
				p.Containers[0].SecurityContext.Capabilities.Add = []corev1.Capability{"NET_ADMIN"}
			},
			"root": func(p *corev1.PodSpec) {
				p.Containers[0].SecurityContext.RunAsUser, p.Containers[0].SecurityContext.RunAsNonRoot = ptr(int64(0)), ptr(false)
			},
			"a sysctl": func(p *corev1.PodSpec) {
				p.SecurityContext.Sysctls = append(p.SecurityContext.Sysctls, corev1.Sysctl{Name: "kernel.shm_rmid_forced", Value: "0"})
			},
			"unconfined":     func(p *corev1.PodSpec) { p.SecurityContext.SeccompProfile.Type = corev1.SeccompProfileTypeUnconfined },
			"an image":       func(p *corev1.PodSpec) { p.Containers[0].Image = "evil.example/tulle:1" },
			"a longer image": func(p *corev1.PodSpec) { p.Containers[0].Image += "-evil/x:1" },
			"a container": func(p *corev1.PodSpec) {
				more := p.Containers[0].DeepCopy()
				more.Name, more.Image, more.Ports = "evil", "evil.example/evil:1", nil
				p.Containers = append(p.Containers, *more)
			},
			"an init container": func(p *corev1.PodSpec) {
				more := p.Containers[0].DeepCopy()
				more.Name, more.Image, more.Ports, more.ReadinessProbe, more.LivenessProbe = "evil", "evil.example/evil:1", nil, nil, nil
				p.InitContainers = append(p.InitContainers, *more)
			},
			"a command": func(p *corev1.PodSpec) { p.Containers[0].Command = []string{"/bin/sh"} },
			"arguments": func(p *corev1.PodSpec) { p.Containers[0].Args = []string{"-proxy-image", "evil"} },
			"a variable": func(p *corev1.PodSpec) {
				p.Containers[0].Env = append(p.Containers[0].Env, corev1.EnvVar{Name: "KUBERNETES_SERVICE_HOST", Value: "192.0.2.1"})
			},
			"a Secret's variable": func(p *corev1.PodSpec) {
				p.Containers[0].Env = append(p.Containers[0].Env, corev1.EnvVar{Name: "TULLE_X", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
					LocalObjectReference: corev1.LocalObjectReference{Name: "tulle-root"}, Key: "tls.key",
				}}})
			},
			"all variables of a Secret": func(p *corev1.PodSpec) {
				p.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "tulle-root"}}}}
			},
		} {
			changed := d.DeepCopy()
			changed.Name += "-tulle" // none of the name is there
			if changed.OwnerReferences == nil {
				changed.Name = "tulle-controlplane-9-9-8"
			} else {
				changed.OwnerReferences[0].Name = "pods-tulle"
			}
			changed.Spec.Template.Spec.ServiceAccountName = changed.Name
			how(&changed.Spec.Template.Spec)
			attacks[what+" with "+name] = create(t, changed)
			attacks[what+" gets "+name] = change(t, live, func(d *appsv1.Deployment) { how(&d.Spec.Template.Spec) })
		}
		attacks[what+" without its owner"] = change(t, live, func(d *appsv1.Deployment) {
			d.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "1", Controller: ptr(true)}}
		})
		attacks[what+" loses its label"] = change(t, live, func(d *appsv1.Deployment) { delete(d.Labels, names.LabelManagedBy) })
		refusedToOperator(t, c, attacks)
	}
	attacks := map[string]attack{
		"the control plane injects another image": change(t, control, func(d *appsv1.Deployment) {
			a := d.Spec.Template.Spec.Containers[0].Args
			d.Spec.Template.Spec.Containers[0].Args = append(a, "--proxy-image=evil.example/proxy:1")
		}),
		"a DaemonSet with another image":   change(t, imagesLive, func(d *appsv1.DaemonSet) { d.Spec.Template.Spec.Containers[0].Image = "evil.example/x:1" }),
		"a DaemonSet with a token":         change(t, imagesLive, func(d *appsv1.DaemonSet) { d.Spec.Template.Spec.AutomountServiceAccountToken = nil }),
		"a DaemonSet with another account": change(t, imagesLive, func(d *appsv1.DaemonSet) { d.Spec.Template.Spec.ServiceAccountName = "tulle-operator" }),
		"a DaemonSet with a node's path": change(t, imagesLive, func(d *appsv1.DaemonSet) {
			d.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "x", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}}
		}),
	}
	live := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: stolenHome, Name: control.Name}}
	there(t, live)
	attacks["the control plane injects another image"] = change(t, live, func(d *appsv1.Deployment) {
		c := &d.Spec.Template.Spec.Containers[0]
		c.Args = append(c.Args, "--proxy-image=evil.example/proxy:1")
	})
	refusedToOperator(t, c, attacks)

	// What somebody else has added to a Gateway's Deployment is theirs, and the operator still upgrades it.
	theirs := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "stolen-pods", Name: "pods-tulle"}}
	update(t, theirs, func() {
		p := &theirs.Spec.Template.Spec
		p.HostPID, p.HostAliases = true, []corev1.HostAlias{{IP: "192.0.2.1", Hostnames: []string{"x"}}}
		p.Volumes = append(p.Volumes, corev1.Volume{Name: "logs", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/var/log"}}})
		p.Containers = append(p.Containers, corev1.Container{Name: "logs", Image: "registry.example/logs:1"})
		p.Containers[0].Env = append(p.Containers[0].Env, corev1.EnvVar{Name: "TZ", Value: "UTC"})
	})
	if err := change(t, theirs, func(d *appsv1.Deployment) {
		for i := range d.Spec.Template.Spec.InitContainers {
			d.Spec.Template.Spec.InitContainers[i].Image = "tulle.test/proxy:2"
		}
		d.Spec.Template.Spec.Containers[0].Image = "tulle.test/proxy:2"
	})(c); err != nil {
		t.Errorf("an upgrade of what others have changed: %v", err)
	}
}

// TestStolenTokenOnRights: the operator grants control planes what they need, and nobody anything else.
func TestStolenTokenOnRights(t *testing.T) {
	c := stolen(t)
	mine := metav1.ObjectMeta{Name: "tulle-controlplane-9-9-9", Labels: byOperator}
	here := mine
	here.Namespace = stolenHome
	account := func(ns, name string) []rbacv1.Subject {
		return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: name}}
	}
	ref := func(kind, name string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
	}
	bind := func(name string, r rbacv1.RoleRef, s []rbacv1.Subject) attack {
		m := mine
		m.Name = name
		return create(t, &rbacv1.ClusterRoleBinding{ObjectMeta: m, RoleRef: r, Subjects: s})
	}
	rule := func(group, resource string, verbs ...string) attack {
		return create(t, &rbacv1.ClusterRole{ObjectMeta: mine, Rules: []rbacv1.PolicyRule{{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}}})
	}
	aggregated := mine
	aggregated.Labels = map[string]string{names.LabelManagedBy: names.Operator, "rbac.authorization.k8s.io/aggregate-to-admin": "true"}
	hook := func(how func(*admissionv1.MutatingWebhook)) attack {
		mesh, _ := rendered("default")
		w := typed(t, of(t, mesh, "MutatingWebhookConfiguration"), &admissionv1.MutatingWebhookConfiguration{})
		w.Name = mine.Name
		for i := range w.Webhooks {
			w.Webhooks[i].ClientConfig.CABundle = nil
		}
		how(&w.Webhooks[0])
		return create(t, w)
	}
	refusedToOperator(t, c, map[string]attack{
		"all Secrets for itself": create(t, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "me"}, RoleRef: ref("ClusterRole", "tulle-gateway-secrets"), Subjects: account(stolenHome, "tulle-operator"),
		}),
		"all Secrets for itself, by name": bind("tulle-controlplane-9-9-9-gateway-secrets", ref("ClusterRole", "tulle-gateway-secrets"), account(stolenHome, "tulle-operator")),
		"all Secrets for another":         bind("tulle-controlplane-9-9-9-gateway-secrets", ref("ClusterRole", "tulle-gateway-secrets"), account("kube-system", "tulle-controlplane-9-9-9")),
		"all Secrets for two": bind("tulle-controlplane-9-9-9-gateway-secrets", ref("ClusterRole", "tulle-gateway-secrets"),
			append(account(stolenHome, "tulle-controlplane-9-9-9"), account("default", "default")...)),
		"all Secrets for a group": bind("tulle-controlplane-9-9-9-gateway-secrets", ref("ClusterRole", "tulle-gateway-secrets"),
			[]rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts"}}),
		"an administrator":               bind(mine.Name, ref("ClusterRole", "cluster-admin"), account(stolenHome, mine.Name)),
		"its own role for another":       bind(mine.Name, ref("ClusterRole", mine.Name), account("default", mine.Name)),
		"its own role for a person":      bind(mine.Name, ref("ClusterRole", mine.Name), []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "me"}}),
		"the operator's role":            bind(mine.Name, ref("ClusterRole", "tulle-operator"), account(stolenHome, mine.Name)),
		"Deployments":                    rule("apps", "deployments", "create"),
		"everything":                     rule("*", "*", "*"),
		"patching pods":                  rule("", "pods", "get", "patch"),
		"impersonation":                  rule("", "users", "impersonate"),
		"writing Leases everywhere":      rule("coordination.k8s.io", "leases", "update"),
		"writing Events everywhere":      rule("", "events", "create"),
		"an aggregated role":             create(t, &rbacv1.ClusterRole{ObjectMeta: mine, AggregationRule: &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"a": "b"}}}}}),
		"a role aggregated to admin":     create(t, &rbacv1.ClusterRole{ObjectMeta: aggregated}),
		"a role that reads paths":        create(t, &rbacv1.ClusterRole{ObjectMeta: mine, Rules: []rbacv1.PolicyRule{{NonResourceURLs: []string{"/*"}, Verbs: []string{"get"}}}}),
		"a Role on Secrets to write":     create(t, &rbacv1.Role{ObjectMeta: here, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}}}}),
		"a RoleBinding to a ClusterRole": create(t, &rbacv1.RoleBinding{ObjectMeta: here, RoleRef: ref("ClusterRole", "admin"), Subjects: account(stolenHome, mine.Name)}),
		"a RoleBinding of its own role":  create(t, &rbacv1.RoleBinding{ObjectMeta: here, RoleRef: ref("Role", "tulle-operator"), Subjects: account(stolenHome, mine.Name)}),
		"a RoleBinding for another":      create(t, &rbacv1.RoleBinding{ObjectMeta: here, RoleRef: ref("Role", mine.Name), Subjects: account(stolenHome, "default")}),

		"a webhook of another name": func(c client.Client) error {
			return create(t, &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "evil", Labels: byOperator}})(c)
		},
		"a webhook elsewhere": hook(func(h *admissionv1.MutatingWebhook) {
			h.ClientConfig = admissionv1.WebhookClientConfig{URL: ptr("https://evil.example/inject")}
		}),
		"a webhook to another Service":   hook(func(h *admissionv1.MutatingWebhook) { h.ClientConfig.Service.Name = "evil" }),
		"a webhook to another namespace": hook(func(h *admissionv1.MutatingWebhook) { h.ClientConfig.Service.Namespace = "evil" }),
		"a webhook on Secrets":           hook(func(h *admissionv1.MutatingWebhook) { h.Rules[0].Resources = []string{"secrets"} }),
		"a webhook on everything": hook(func(h *admissionv1.MutatingWebhook) {
			h.Rules[0].APIGroups, h.Rules[0].Resources = []string{"*"}, []string{"*/*"}
		}),
		"a webhook on updates":     hook(func(h *admissionv1.MutatingWebhook) { h.Rules[0].Operations = []admissionv1.OperationType{"UPDATE"} }),
		"a webhook on kube-system": hook(func(h *admissionv1.MutatingWebhook) { h.NamespaceSelector.MatchExpressions = nil }),
	})
}

// TestStolenTokenOnTraffic: Services, budgets and autoscalers are about the mesh's own pods.
func TestStolenTokenOnTraffic(t *testing.T) {
	c := stolen(t)
	namespace(t, "stolen-traffic", nil)
	mine := gatewayObject("stolen-traffic", "g")
	ports := []corev1.ServicePort{{Port: 80}}
	gateway := map[string]string{names.LabelGateway: "g", names.LabelProxy: names.KindGateway}
	if err := c.Create(t.Context(), &corev1.Service{ObjectMeta: mine, Spec: corev1.ServiceSpec{Selector: gateway, Ports: ports}}, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	refusedToOperator(t, c, map[string]attack{
		"pods of others":           create(t, &corev1.Service{ObjectMeta: mine, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: ports}}),
		"no selector":              create(t, &corev1.Service{ObjectMeta: mine, Spec: corev1.ServiceSpec{Ports: ports}}),
		"another Gateway's pods":   create(t, &corev1.Service{ObjectMeta: mine, Spec: corev1.ServiceSpec{Selector: map[string]string{names.LabelGateway: "h", names.LabelProxy: names.KindGateway}, Ports: ports}}),
		"an external name":         create(t, &corev1.Service{ObjectMeta: mine, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "evil.example", Selector: gateway}}),
		"an address of the others": create(t, &corev1.Service{ObjectMeta: mine, Spec: corev1.ServiceSpec{Selector: gateway, Ports: ports, ExternalIPs: []string{"192.0.2.53"}}}),
		"another's disruption": create(t, &policyv1.PodDisruptionBudget{ObjectMeta: mine, Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: ptr(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{},
		}}),
		"another's scale": create(t, &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: mine, Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "theirs"}, MaxReplicas: 100,
		}}),
		"a name that is not the Gateway's": create(t, &corev1.ServiceAccount{ObjectMeta: func() metav1.ObjectMeta { m := mine; m.Name = "default-2"; return m }()}),
	})
}
