// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

// added is what the admission of a cluster adds to each Deployment at its creation. Policies see the object
// after that, and as the operator's request.
type added struct {
	how func(*corev1.PodTemplateSpec)
	// needs is what the annotation tulle.dev/admission-adds must say; nothing: allowed without it.
	needs []string
	// never: refused whatever the annotation says.
	never bool
}

func addVolume(v corev1.VolumeSource, mount string) func(*corev1.PodTemplateSpec) {
	return func(p *corev1.PodTemplateSpec) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "extra", VolumeSource: v})
		if mount != "" {
			c := &p.Spec.Containers[0]
			c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == mount })
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "extra", MountPath: mount})
		}
	}
}

func addVariable(e ...corev1.EnvVar) func(*corev1.PodTemplateSpec) {
	return func(p *corev1.PodTemplateSpec) {
		for i := range p.Spec.Containers {
			p.Spec.Containers[i].Env = append(p.Spec.Containers[i].Env, e...)
		}
	}
}

func configMap(name string) corev1.VolumeSource {
	return corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}
}

// additions are what admission in clusters is known to add, and what it must not be taken for.
func additions() map[string]added {
	secretVariable := corev1.EnvVar{Name: "LICENSE", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "x"}, Key: "k"}}}
	out := map[string]added{
		"proxy variables": {how: addVariable(corev1.EnvVar{Name: "HTTPS_PROXY", Value: "http://p:3128"}, corev1.EnvVar{Name: "no_proxy", Value: "10.0.0.0/8"})},
		"a time zone":     {how: addVariable(corev1.EnvVar{Name: "TZ", Value: "UTC"})},
		"a variable from a ConfigMap": {how: addVariable(corev1.EnvVar{Name: "CLUSTER", ValueFrom: &corev1.EnvVarSource{
			ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "x"}, Key: "k"},
		}})},
		"a file of certificates":               {how: addVariable(corev1.EnvVar{Name: "SSL_CERT_FILE", Value: "/etc/ssl/certs/company.pem"})},
		"a volume of a company's certificates": {how: addVolume(configMap("ca-bundle"), "/etc/ssl/certs")},
		"a projected volume of the same": {how: addVolume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "ca-bundle"}}},
		}}}, "/usr/local/share/ca-certificates")},
		"a volume for logs": {how: addVolume(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}, "/var/log")},
		"host aliases": {how: func(p *corev1.PodTemplateSpec) {
			p.Spec.HostAliases = []corev1.HostAlias{{IP: "192.0.2.1", Hostnames: []string{"proxy.example"}}}
		}},
		"supplemental groups": {how: func(p *corev1.PodTemplateSpec) { p.Spec.SecurityContext.SupplementalGroups = []int64{0, 3000} }},
		"tolerations": {how: func(p *corev1.PodTemplateSpec) {
			p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: "arch", Operator: corev1.TolerationOpExists})
		}},
		"the runtime's profiles": {how: func(p *corev1.PodTemplateSpec) {
			apparmor := &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeRuntimeDefault}
			p.Spec.SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
			p.Spec.SecurityContext.AppArmorProfile = apparmor
			p.Spec.Containers[0].SecurityContext.AppArmorProfile = apparmor
		}},
		"labels": {how: func(p *corev1.PodTemplateSpec) { p.Labels["cost-center"] = "7" }},
		"a place and a class": {how: func(p *corev1.PodTemplateSpec) {
			p.Spec.NodeSelector, p.Spec.PriorityClassName = map[string]string{"pool": "a"}, "system-cluster-critical"
			p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
			p.Spec.DNSConfig = &corev1.PodDNSConfig{Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: ptr("2")}}}
		}},

		"a Secret's variable":    {how: addVariable(secretVariable), needs: []string{"env:LICENSE"}},
		"a library to load":      {how: addVariable(corev1.EnvVar{Name: "LD_PRELOAD", Value: "/x.so"}), needs: []string{"env:LD_PRELOAD"}},
		"a library's path":       {how: addVariable(corev1.EnvVar{Name: "LD_LIBRARY_PATH", Value: "/opt"}), needs: []string{"env:LD_LIBRARY_PATH"}},
		"a path of programs":     {how: addVariable(corev1.EnvVar{Name: "PATH", Value: "/opt"}), needs: []string{"env:PATH"}},
		"another API server":     {how: addVariable(corev1.EnvVar{Name: "KUBERNETES_SERVICE_HOST", Value: "192.0.2.1"}), needs: []string{"env:KUBERNETES_SERVICE_HOST"}},
		"another kubeconfig":     {how: addVariable(corev1.EnvVar{Name: "KUBECONFIG", Value: "/opt/x"}), needs: []string{"env:KUBECONFIG"}},
		"the runtime's settings": {how: addVariable(corev1.EnvVar{Name: "GODEBUG", Value: "x509sha1=1"}), needs: []string{"env:GODEBUG"}},
		"a Secret":               {how: addVolume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "company-ca"}}, "/etc/ssl/certs"), needs: []string{"volume:extra"}},
		"a path of the node":     {how: addVolume(corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/var/log"}}, "/var/log"), needs: []string{"volume:extra"}},
		"a CSI volume":           {how: addVolume(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "x.example"}}, ""), needs: []string{"volume:extra"}},
		"a runtime":              {how: func(p *corev1.PodTemplateSpec) { p.Spec.RuntimeClassName = ptr("gvisor") }, needs: []string{"runtimeClassName"}},
		"a profile": {how: func(p *corev1.PodTemplateSpec) {
			p.Spec.SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: ptr("x.json")}
		}, needs: []string{"securityContext"}},
		"a profile of AppArmor": {how: func(p *corev1.PodTemplateSpec) {
			p.Spec.SecurityContext.AppArmorProfile = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
		}, needs: []string{"securityContext"}},
		"a profile of the container": {how: func(p *corev1.PodTemplateSpec) {
			p.Spec.Containers[0].SecurityContext.AppArmorProfile = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: ptr("x")}
		}, needs: []string{"securityContext:OWN"}},
		"a profile and a Secret's variable": {how: func(p *corev1.PodTemplateSpec) {
			p.Spec.Containers[0].SecurityContext.SELinuxOptions = &corev1.SELinuxOptions{Level: "s0:c1"}
			addVariable(secretVariable)(p)
		}, needs: []string{"securityContext:OWN", "env:LICENSE"}},
		"a sidecar": {how: func(p *corev1.PodTemplateSpec) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "logs", Image: "tulle.test/sidecar:1", Command: []string{"/logs"}, Env: []corev1.EnvVar{secretVariable}})
		}, needs: []string{"container:logs"}},
		"several": {how: func(p *corev1.PodTemplateSpec) {
			addVariable(secretVariable)(p)
			addVolume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "company-ca"}}, "/etc/ssl/certs")(p)
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "logs", Image: "tulle.test/sidecar:1"})
		}, needs: []string{"container:logs", "env:LICENSE", "volume:extra"}},

		"all variables of a ConfigMap": {how: func(p *corev1.PodTemplateSpec) {
			p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "x"}}}}
		}, never: true},
		"another account": {how: func(p *corev1.PodTemplateSpec) { p.Spec.ServiceAccountName = "default" }, never: true},
		"a sidecar's foreign image": {how: func(p *corev1.PodTemplateSpec) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "logs", Image: "evil.example/logs:1"})
		}, never: true},
	}
	// Whoever can write a ConfigMap would have a program of its own run if that could be mounted over one.
	for _, mount := range []string{
		"/", "/tulle", "/tulle-slot", "/usr", "/usr/local", "/usr/local/bin", "/usr/local/bin/envoy", "/lib", "/lib64", "/lib/x86_64-linux-gnu", "/usr/lib",
		"/etc", "/etc/ld.so.preload", "/etc/ld.so.cache", "/etc/passwd", "/var", "/run", "/run/tulle", "/run/tulle/x", "/var/run", "/var/run/tulle",
		"/var/run/secrets/kubernetes.io/serviceaccount", "/var/run/secrets/tulle.dev/trust", "/proc", "/etc/ssl/../../tulle", "/opt/../tulle-slot", "//tulle", "/./tulle", "/tmp/../tulle",
	} {
		for _, name := range []string{"ca-bundle", names.TrustConfigMap} {
			if mount != "/var/run/secrets/tulle.dev/trust" {
				out["ConfigMap "+name+" over "+mount] = added{how: addVolume(configMap(name), mount), needs: []string{"volume:extra"}}
			}
		}
	}
	out["a ConfigMap over a file"] = added{how: func(p *corev1.PodTemplateSpec) {
		addVolume(configMap(names.TrustConfigMap), "/tulle")(p)
		c := &p.Spec.Containers[0]
		c.VolumeMounts[len(c.VolumeMounts)-1].SubPath = "ca.crt"
	}, needs: []string{"volume:extra"}}
	return out
}

// TestForeignAdmission: what the cluster's own admission adds to the operator's Deployments is allowed if it
// gives nobody code or rights. What could is refused, and the message has the annotation that allows it.
func TestForeignAdmission(t *testing.T) {
	c := stolen(t)
	namespace(t, "foreign-admission", nil)
	mesh, gateway := rendered("foreign-admission")
	proxies := typed(t, of(t, gateway, "Deployment"), &appsv1.Deployment{})
	control := typed(t, of(t, mesh, "Deployment"), &appsv1.Deployment{})
	images := func(annotation, value string) {
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: names.ImagesRole}}
		update(t, role, func() { metav1.SetMetaDataAnnotation(&role.ObjectMeta, annotation, value) })
	}
	images("tulle.dev/more-repositories", "tulle.test/sidecar")
	defer images("tulle.dev/more-repositories", "")
	defer images("tulle.dev/admission-adds", "")
	const knob = `kubectl annotate clusterrole tulle-operator-images --overwrite tulle.dev/admission-adds="`
	attempt := func(d *appsv1.Deployment, a added) error {
		d = d.DeepCopy()
		d.Name = strings.Replace(d.Name, "0-3-0", "0-3-7", 1)
		d.Spec.Template.Spec.ServiceAccountName = d.Name
		a.how(&d.Spec.Template)
		return create(t, d)(c)
	}
	var entries []string
	eventually(t, "the sidecar's repository is allowed", func() string {
		if err := attempt(proxies, additions()["a sidecar"]); err == nil || !strings.Contains(err.Error(), "container:logs") {
			return errorText(err)
		}
		return ""
	})
	for what, d := range map[string]*appsv1.Deployment{"a Gateway's": proxies, "the control plane's": control} {
		for name, a := range additions() {
			t.Run(what+" with "+name, func(t *testing.T) {
				err := attempt(d, a)
				if !a.never && len(a.needs) == 0 {
					if err != nil {
						t.Errorf("refused: %v", err)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), "the operator may") {
					t.Fatalf("want a refusal, got %s", errorText(err))
				}
				if a.never {
					return
				}
				needs := slices.Clone(a.needs)
				for i := range needs {
					needs[i] = strings.Replace(needs[i], "OWN", d.Spec.Template.Spec.Containers[0].Name, 1)
				}
				if want := knob + strings.Join(needs, " ") + `"`; !strings.Contains(err.Error(), want) {
					t.Errorf("want %s in: %v", want, err)
				}
				entries = append(entries, needs...)
			})
		}
	}
	slices.Sort(entries)
	images("tulle.dev/admission-adds", strings.Join(slices.Compact(entries), " "))
	eventually(t, "the annotation works", func() string {
		return strings.Replace(errorText(attempt(proxies, additions()["several"])), "it is let through", "", 1)
	})
	for what, d := range map[string]*appsv1.Deployment{"a Gateway's": proxies, "the control plane's": control} {
		for name, a := range additions() {
			if err := attempt(d, a); (err != nil) != a.never {
				t.Errorf("%s with %s, and the annotation: %s", what, name, errorText(err))
			}
		}
	}
	// What is in the annotation already stays in the command.
	images("tulle.dev/admission-adds", "volume:theirs")
	eventually(t, "the command has what is there", func() string {
		if err := attempt(proxies, additions()["a runtime"]); err == nil || !strings.Contains(err.Error(), knob+`volume:theirs runtimeClassName"`) {
			return errorText(err)
		}
		return ""
	})
}

// additionNamed: the status of a Mesh and of a Gateway names the annotation that allows what admission of the
// cluster adds, and both come up once it is set.
func additionNamed(t *testing.T) {
	namespace(t, "added", nil)
	policy, binding := &unstructured.Unstructured{}, &unstructured.Unstructured{}
	for o, text := range map[*unstructured.Unstructured]string{
		policy: `{"kind":"MutatingAdmissionPolicy","spec":{
			"reinvocationPolicy":"Never",
			"matchConstraints":{"resourceRules":[{"apiGroups":["apps"],"apiVersions":["v1"],"operations":["CREATE"],"resources":["deployments"]}]},
			"mutations":[{"patchType":"ApplyConfiguration","applyConfiguration":{"expression":"Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{runtimeClassName: 'gvisor'}}}}"}}]}}`,
		binding: `{"kind":"MutatingAdmissionPolicyBinding","spec":{"policyName":"company"}}`,
	} {
		if err := json.Unmarshal([]byte(text), &o.Object); err != nil {
			t.Fatal(err)
		}
		o.SetAPIVersion("admissionregistration.k8s.io/v1")
		o.SetName("company")
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = admin.Delete(context.WithoutCancel(t.Context()), o) })
	}
	_, gateway := rendered("added")
	foreign := typed(t, of(t, gateway, "Deployment"), &appsv1.Deployment{})
	eventually(t, "the company's policy works", func() string {
		d := foreign.DeepCopy()
		if err := admin.Create(t.Context(), d, client.DryRunAll); err != nil {
			return err.Error()
		}
		if d.Spec.Template.Spec.RuntimeClassName == nil {
			return "it adds nothing"
		}
		return ""
	})
	gw := newGateway(t, "added", "edge", nil)
	deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonRefused)
	says(t, gw, "tulle.dev/admission-adds=\"runtimeClassName\"")
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: controlPlane}}
	if err := admin.Delete(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	c := condition(t, "tulle", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRefused)
	if !strings.Contains(c.Message, "tulle.dev/admission-adds=\"runtimeClassName\"") {
		t.Errorf("Ready: %s", c.Message)
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: names.ImagesRole}}
	update(t, role, func() { metav1.SetMetaDataAnnotation(&role.ObjectMeta, "tulle.dev/admission-adds", "runtimeClassName") })
	deployed(t, gw, metav1.ConditionFalse, v1alpha1.ReasonProxyNotReady) // after at most 30 s
	there(t, d)
	serve(t, system, controlPlane, 2)
	condition(t, "tulle", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	update(t, role, func() { metav1.SetMetaDataAnnotation(&role.ObjectMeta, "tulle.dev/admission-adds", "") })
}
