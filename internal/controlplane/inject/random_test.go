// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// drawer makes random pods: most can be injected, some are refused.
type drawer struct{ *rand.Rand }

func (d drawer) one(of int) bool { return d.IntN(of) == 0 }

func (d drawer) port() intstr.IntOrString {
	switch d.IntN(6) {
	case 0:
		return intstr.FromString("web")
	case 1:
		return intstr.FromString("nosuch")
	case 2:
		return intstr.FromString("8081")
	}
	return intstr.FromInt32(8000 + d.Int32N(100))
}

func (d drawer) probe() *corev1.Probe {
	p := &corev1.Probe{TimeoutSeconds: d.Int32N(4), PeriodSeconds: d.Int32N(9)}
	switch d.IntN(5) {
	case 0:
		return nil
	case 1:
		p.HTTPGet = &corev1.HTTPGetAction{Path: "/x$(Y)", Port: d.port(), Scheme: corev1.URISchemeHTTPS}
	case 2:
		p.TCPSocket = &corev1.TCPSocketAction{Port: d.port()}
	case 3:
		p.GRPC = &corev1.GRPCAction{Port: 9000}
	case 4:
		p.Exec = &corev1.ExecAction{Command: []string{"true"}}
	}
	return p
}

func (d drawer) container(name string) corev1.Container {
	c := corev1.Container{Name: name, Image: "i"}
	for i := range d.IntN(3) {
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: []string{"web", "", "other"}[i], ContainerPort: 8000 + d.Int32N(90)})
	}
	c.StartupProbe, c.ReadinessProbe, c.LivenessProbe = d.probe(), d.probe(), d.probe()
	if d.one(3) {
		c.Lifecycle = &corev1.Lifecycle{}
		if d.one(2) {
			c.Lifecycle.PreStop = &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Port: d.port()}}
		}
	}
	if d.one(4) {
		c.SecurityContext = &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}}}
	}
	if d.one(30) {
		id := int64(names.ProxyUID)
		c.SecurityContext = &corev1.SecurityContext{RunAsUser: &id}
	}
	return c
}

func (d drawer) pod() *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}
	for i := range 1 + d.IntN(3) {
		p.Spec.Containers = append(p.Spec.Containers, d.container(fmt.Sprint("c", i)))
	}
	for i := range d.IntN(3) {
		c := d.container(fmt.Sprint("i", i))
		if always := corev1.ContainerRestartPolicyAlways; d.one(2) {
			c.RestartPolicy = &always
		}
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
	for i := range d.IntN(3) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: fmt.Sprint("v", i)})
	}
	if d.one(2) {
		p.Annotations = map[string]string{"prometheus.io/scrape": "true", "own": "kept"}
		if d.one(2) {
			p.Annotations["prometheus.io/port"] = fmt.Sprint(9000 + d.IntN(5))
		}
		if d.one(2) {
			p.Annotations[names.AnnotationExcludeInboundPorts] = "9000,80"
		}
		if d.one(9) {
			p.Annotations["tulle.dev/other"] = ""
		}
	}
	if d.one(3) {
		grace := d.Int64N(40)
		p.Spec.TerminationGracePeriodSeconds = &grace
	}
	if d.one(5) {
		p.Spec.Resources = &corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
		}
	}
	return p
}

// bare is a pod without what injection may touch, to compare the rest.
func bare(pod *corev1.Pod) *corev1.Pod {
	out := pod.DeepCopy()
	out.Spec.InitContainers = slices.DeleteFunc(out.Spec.InitContainers, func(c corev1.Container) bool { return ourContainer(c.Name) })
	out.Spec.Volumes = slices.DeleteFunc(out.Spec.Volumes, func(v corev1.Volume) bool { return ourVolume(v.Name) })
	for _, list := range [][]corev1.Container{out.Spec.InitContainers, out.Spec.Containers} {
		for i := range list {
			c := &list[i]
			c.Lifecycle = nil
			for _, p := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
				if p != nil {
					p.ProbeHandler = corev1.ProbeHandler{}
				}
			}
		}
	}
	for _, k := range []string{names.LabelProxy, names.LabelRevision, names.LabelVersion} {
		delete(out.Labels, k)
	}
	for _, k := range []string{names.AnnotationInjected, scrapePortAnnotation, scrapePathAnnotation} {
		delete(out.Annotations, k)
	}
	if len(out.Labels) == 0 {
		out.Labels = nil
	}
	if len(out.Annotations) == 0 {
		out.Annotations = nil
	}
	if len(out.Spec.InitContainers) == 0 {
		out.Spec.InitContainers = nil
	}
	if len(out.Spec.Volumes) == 0 {
		out.Spec.Volumes = nil
	}
	out.Spec.Resources = nil
	return out
}

// TestRandomPods: for any pod, a second pass changes nothing, also after others have added to it;
// the pod keeps all that is its own; no probe that the kubelet sends over the network to a port of
// the pod remains, and the agent knows where each one went.
func TestRandomPods(t *testing.T) {
	const seed, count = 11, 1000
	d := drawer{rand.New(rand.NewPCG(seed, 0))}
	ns, s := NamespaceFacts{Name: "n", Labels: map[string]string{names.LabelInject: names.InjectEnabled}}, testSettings()
	done := 0
	for i := range count {
		pod := d.pod()
		r, refusal := Pod(pod, ns, s)
		if refusal != nil {
			continue
		}
		done++
		again(t, r.Pod, ns, s)
		applied(t, pod, r.Pod)
		if before, after := bare(pod), bare(r.Pod); !reflect.DeepEqual(before, after) {
			t.Errorf("the pod lost something of its own: %s", cmp.Diff(before, after))
		}
		answered(t, r.Pod)
		more := r.Pod.DeepCopy()
		more.Spec.Containers = append(more.Spec.Containers, d.container("newcomer"))
		more.Spec.Volumes = append(more.Spec.Volumes, corev1.Volume{Name: "new"})
		if r2, refusal := Pod(more, ns, s); refusal == nil {
			again(t, r2.Pod, ns, s)
			answered(t, r2.Pod)
		}
		if t.Failed() {
			t.Fatalf("seed %d, pod %d", seed, i)
		}
	}
	if done < count/2 || done == count {
		t.Errorf("%d of %d pods were injected: the draw tests too little", done, count)
	}
}

// answered checks that probes at the agent and the agent's list are the same set, and that those
// elsewhere could not be moved.
func answered(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	var known protocol.Probes
	if text := environment(t, pod, names.ContainerSlotA, protocol.EnvProbes); text != "" {
		if err := json.Unmarshal([]byte(text), &known); err != nil {
			t.Fatal(err)
		}
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			for _, a := range aims(&list[i]) {
				path := protocol.ProbePath(testToken, list[i].Name, a.kind)
				if _, ok := known[path]; ok && a.http != nil && a.http.Path == path && a.http.Port.IntVal == names.PortAgent {
					delete(known, path)
					continue
				}
				if _, ok := portOf(&list[i], a.port()); ok {
					t.Errorf("%s of %s was not moved", a.kind, list[i].Name)
				}
			}
		}
	}
	if len(known) != 0 {
		t.Errorf("the agent answers probes that nobody asks: %v", known)
	}
}

// TestHugeQuantity: a quantity that would take minutes to compare is refused at once.
func TestHugeQuantity(t *testing.T) {
	for _, v := range []string{"1e999999999", "1E999999999", "1e-999999999", "9999999999999999Ti", "1Ei", "1u", "0", "-1", "", "mm", "1mm"} {
		if _, problems := ParseAnnotations(map[string]string{names.AnnotationProxyMemoryLimit: v}, nil); len(problems) != 1 {
			t.Errorf("%q was taken", v)
		}
	}
	for _, v := range []string{"1", "0.5", "100m", "128Mi", "1Gi", "2k", "1.5G", "3T"} {
		if _, problems := ParseAnnotations(map[string]string{names.AnnotationProxyMemoryLimit: v}, nil); len(problems) != 0 {
			t.Errorf("%q: %v", v, problems)
		}
	}
}

// FuzzPod: whatever a pod and its namespace hold, nothing panics, a second pass changes nothing and
// the patch can be applied.
func FuzzPod(f *testing.F) {
	d := drawer{rand.New(rand.NewPCG(3, 0))}
	for range 20 {
		f.Add(marshal(f, d.pod()), "enabled", "privileged")
	}
	for _, pod := range []string{
		`{}`, `{"spec":{"containers":[{}]}}`, `{"metadata":{"annotations":{"tulle.dev/injected":""}}}`,
		`{"spec":{"containers":[{"name":"a","livenessProbe":{}}],"initContainers":[{"name":"tulle-proxy-a","env":[{"name":"TULLE_PROBES","value":"{"}]}]}}`,
		`{"spec":{"containers":[{"name":"a","livenessProbe":{"grpc":{"port":-1},"tcpSocket":{"port":"x"}}}]}}`,
		`{"metadata":{"annotations":{"prometheus.io/scrape":"true","prometheus.io/port":"0"}}}`,
		`{"spec":{"terminationGracePeriodSeconds":-5,"resources":{"limits":{"cpu":"1e3"}},"containers":[{"name":"a"}]}}`,
		`{"metadata":{"annotations":{"tulle.dev/exclude-outbound-ips":"::ffff:1.2.3.4/1","tulle.dev/proxy-cpu-limit":"1e-9"}}}`,
	} {
		f.Add([]byte(pod), "enabled", "")
	}
	f.Fuzz(func(t *testing.T, raw []byte, inject, enforce string) {
		var pod corev1.Pod
		if json.Unmarshal(raw, &pod) != nil {
			return
		}
		ns := NamespaceFacts{Name: "n", Labels: map[string]string{names.LabelInject: inject, enforceLabel: enforce}}
		r, refusal := Pod(&pod, ns, testSettings())
		if refusal != nil && (len(refusal.Problems) == 0 || r.Pod != nil) {
			t.Error("a refusal without a reason, or with a result")
		}
		if r.Pod == nil {
			return
		}
		twice, refusal := Pod(r.Pod, ns, testSettings())
		if refusal != nil {
			t.Fatalf("an injected pod is refused: %s", refusal.Message())
		}
		// Compared as JSON: a strange quantity may be the same in two forms.
		if diff := cmp.Diff(string(marshal(t, r.Pod)), string(marshal(t, twice.Pod))); diff != "" {
			t.Errorf("a second pass changes the pod: %s", diff)
		}
		applied(t, &pod, r.Pod)
	})
}
