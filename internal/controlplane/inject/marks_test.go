// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/internal/gatewayspec"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// constants are the values of the string constants of internal/names/kubernetes.go whose name begins
// with the prefix, by name.
func constants(t *testing.T, prefix string) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../../names/kubernetes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			for i, name := range v.Names {
				if lit, ok := v.Values[i].(*ast.BasicLit); ok && strings.HasPrefix(name.Name, prefix) {
					if out[name.Name], err = strconv.Unquote(lit.Value); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	return out
}

// TestEveryName: every annotation that Tulle defines is one that workloads or Gateways may set, or is ignored on a
// pod that is created, whatever its value, and removed; every container and volume that it defines is known
// as its own. A new constant that injection does not know fails here.
func TestEveryName(t *testing.T) {
	annotations := constants(t, "Annotation")
	if len(annotations) < 15 {
		t.Fatalf("only %d annotations were found", len(annotations))
	}
	pod, ns, s := load(t, "plain")
	want, refusal := Pod(pod, ns, s)
	if refusal != nil {
		t.Fatal(refusal.Message())
	}
	for name, key := range annotations {
		if slices.Contains(Keys(), key) || slices.Contains(gatewayspec.Keys(), key) {
			continue
		}
		for _, value := range []string{"", "0.2.0", "null", `{"slot":"b","generation":7}`, "nonsense"} {
			p := pod.DeepCopy()
			p.Annotations = map[string]string{key: value}
			got, refusal := Pod(p, ns, s)
			if refusal != nil {
				t.Fatalf("%s=%q is refused: %s", name, value, refusal.Message())
			}
			if d := cmp.Diff(want.Pod, got.Pod); d != "" {
				t.Errorf("%s=%q counts: %s", name, value, d)
			}
		}
	}
	for name, value := range constants(t, "Container") {
		if !ourContainer(value) {
			t.Errorf("%s is not known as Tulle's", name)
		}
	}
	for name, value := range constants(t, "Volume") {
		if !ourVolume(value) {
			t.Errorf("%s is not known as Tulle's", name)
		}
	}
}

// part is one thing that injection writes on a pod, and its removal.
type part struct {
	name   string
	remove func(*corev1.Pod)
}

// partsOf are all the parts of an injected pod: each annotation and label of Tulle, each container, each
// volume.
func partsOf(t *testing.T, pod *corev1.Pod) []part {
	t.Helper()
	out := []part{{names.AnnotationInjected, func(p *corev1.Pod) { delete(p.Annotations, names.AnnotationInjected) }}}
	for _, key := range []string{names.LabelProxy, names.LabelRevision, names.LabelVersion} {
		out = append(out, part{key, func(p *corev1.Pod) { delete(p.Labels, key) }})
	}
	for _, name := range slices.Sorted(maps.Values(constants(t, "Container"))) {
		if slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == name }) {
			out = append(out, part{name, func(p *corev1.Pod) {
				p.Spec.InitContainers = slices.DeleteFunc(p.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == name })
			}})
		}
	}
	for _, name := range slices.Sorted(maps.Values(constants(t, "Volume"))) {
		out = append(out, part{name, func(p *corev1.Pod) {
			p.Spec.Volumes = slices.DeleteFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
		}})
	}
	return out
}

// without is the pod without some parts, and whether what was not moved in the pod itself is still
// recorded somewhere: the application's metrics in the record or a slot, the growth of the pod's
// resources in the record or in both slots.
func without(pod *corev1.Pod, parts []part, removed func(i int) bool) (out *corev1.Pod, lacks []string) {
	out = pod.DeepCopy()
	for i, p := range parts {
		if removed(i) {
			p.remove(out)
			lacks = append(lacks, p.name)
		}
	}
	return out, lacks
}

func recordLost(pod *corev1.Pod, lacks []string) bool {
	if !slices.Contains(lacks, names.AnnotationInjected) {
		return false
	}
	a, b := slices.Contains(lacks, names.ContainerSlotA), slices.Contains(lacks, names.ContainerSlotB)
	return pod.Annotations[scrapeAnnotation] == "true" && a && b || pod.Spec.Resources != nil && (a || b)
}

// TestEverySubset: an injected pod that lost any of the things that injection wrote, in any
// combination, comes out of injection as if it had lost nothing. Where the only record of something is
// lost, it is admitted, and a further injection changes nothing.
func TestEverySubset(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*/out.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(17, 0))
	for _, path := range dirs {
		name := filepath.Base(filepath.Dir(path))
		pod, ns, s := load(t, name)
		result, _ := Pod(pod, ns, s)
		if result.Pod == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			parts := partsOf(t, result.Pod)
			all := 1 << len(parts)
			for n := range all {
				// Two cases with every subset, the others with some and with the whole.
				if name != "probes" && name != "metrics" && n != all-1 && r.IntN(64) != 0 {
					continue
				}
				copied, lacks := without(result.Pod, parts, func(i int) bool { return n>>i&1 == 1 })
				again, refusal := Pod(copied, ns, s)
				if refusal != nil {
					t.Fatalf("without %v: %s", lacks, refusal.Message())
				}
				if recordLost(result.Pod, lacks) {
					twice, refusal := Pod(again.Pod, ns, s)
					if refusal != nil || !reflect.DeepEqual(again.Pod, twice.Pod) {
						t.Fatalf("without %v: a further injection changes the pod: %s", lacks, cmp.Diff(again.Pod, twice.Pod))
					}
					continue
				}
				if !reflect.DeepEqual(result.Pod, again.Pod) {
					t.Fatalf("without %v: %s", lacks, cmp.Diff(result.Pod, again.Pod))
				}
			}
		})
	}
}

// recordedPod is the pod that a release made of a case, with the case.
func recordedPod(t *testing.T, dir string) (was, pod *corev1.Pod, ns NamespaceFacts, s Settings) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "in.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	pod, ns, s = parse(t, b)
	var out output
	b, err = os.ReadFile(filepath.Join(dir, "out.yaml"))
	if err == nil {
		err = yaml.UnmarshalStrict(b, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Pod, pod, ns, s
}

// TestEarlierReleases: what an earlier release made of a pod, and any part of it, becomes what this
// release makes of that pod. (The earlier release kept a probe's port as a number, so the header of the
// moved probe differs where it had a name. The agent's list does not.)
func TestEarlierReleases(t *testing.T) {
	dirs, err := filepath.Glob("recorded/*/*")
	if err != nil {
		t.Fatal(err)
	}
	if len(dirs) < 15 {
		t.Fatalf("only %d pods are recorded", len(dirs))
	}
	r := rand.New(rand.NewPCG(19, 0))
	for _, dir := range dirs {
		t.Run(strings.TrimPrefix(dir, "recorded/"), func(t *testing.T) {
			was, pod, ns, s := recordedPod(t, dir)
			s.Image, s.Version, s.Revision = "registry.example/tulle-proxy:next", "next", "next"
			want, _ := Pod(pod, ns, s)
			withoutOriginals(want.Pod)
			parts := partsOf(t, was)
			for n := range 1 << len(parts) {
				if n != 0 && r.IntN(32) != 0 {
					continue
				}
				copied, lacks := without(was, parts, func(i int) bool { return n>>i&1 == 1 })
				got, refusal := Pod(copied, ns, s)
				if refusal != nil {
					t.Fatalf("without %v: %s", lacks, refusal.Message())
				}
				again(t, got.Pod, ns, s)
				noRecord := slices.Contains(lacks, names.ContainerSlotA) || slices.Contains(lacks, names.ContainerSlotB)
				if noRecord {
					continue // this release had no other
				}
				withoutOriginals(got.Pod)
				if !reflect.DeepEqual(want.Pod, got.Pod) {
					t.Fatalf("without %v: %s", lacks, cmp.Diff(want.Pod, got.Pod))
				}
			}
		})
	}
}

// withoutOriginals removes the headers of moved probes.
func withoutOriginals(pod *corev1.Pod) {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			for _, a := range aims(&list[i]) {
				if a.moved() {
					a.http.HTTPHeaders = nil
				}
			}
		}
	}
}

// TestDebugCopies: what "kubectl debug --copy-to" makes of an injected pod. By default it drops labels,
// annotations and probes, and keeps init containers, volumes and hooks; flags keep or drop each.
func TestDebugCopies(t *testing.T) {
	bare := func(p *corev1.Pod) { p.Labels, p.Annotations = nil, nil }
	noProbes := func(p *corev1.Pod) {
		for i := range p.Spec.Containers {
			c := &p.Spec.Containers[i]
			c.StartupProbe, c.ReadinessProbe, c.LivenessProbe = nil, nil, nil
		}
	}
	noInit := func(p *corev1.Pod) { p.Spec.InitContainers = nil }
	for name, flags := range map[string][]func(*corev1.Pod){
		"default":                                         {bare, noProbes},
		"--keep-annotations --keep-labels":                {noProbes},
		"--keep-liveness --keep-readiness":                {bare},
		"--keep-init-containers=false":                    {bare, noProbes, noInit},
		"--keep-init-containers=false --keep-liveness":    {bare, noInit},
		"--keep-init-containers=false --keep-annotations": {noProbes, noInit},
	} {
		t.Run(name, func(t *testing.T) {
			pod, ns, s := load(t, "probes")
			debugger := corev1.Container{Name: "debugger", Image: "busybox"}
			share := true
			copied, _, _ := injected(t, "probes")
			for _, p := range []*corev1.Pod{copied, pod} {
				p.Name, p.Spec.ShareProcessNamespace = "copy", &share
				p.Spec.Containers = append(p.Spec.Containers, debugger)
			}
			for _, f := range flags {
				f(copied)
				f(pod)
			}
			want, refusal := Pod(pod, ns, s)
			if refusal != nil {
				t.Fatal(refusal.Message())
			}
			got, refusal := Pod(copied, ns, s)
			if refusal != nil {
				t.Fatal(refusal.Message())
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestLostOriginal: a probe of an earlier release without any record of where it went is removed, and
// its author is warned. At the agent it would fail for ever.
func TestLostOriginal(t *testing.T) {
	pod, _, ns, s := recordedPod(t, "recorded/0.2.0/probes")
	pod.Spec.InitContainers, pod.Annotations = nil, nil
	r, refusal := Pod(pod, ns, s)
	if refusal != nil {
		t.Fatal(refusal.Message())
	}
	answered(t, r.Pod)
	if c := r.Pod.Spec.Containers[0]; c.LivenessProbe != nil || c.ReadinessProbe != nil || c.StartupProbe != nil || c.Lifecycle.PostStart != nil {
		t.Errorf("probes without an original stay: %+v", c)
	}
	said := strings.Join(r.Warnings, "\n")
	for _, kind := range []string{"startup", "readiness", "liveness", "postStart", "preStop"} {
		if !strings.Contains(said, kind+" of container http was moved") {
			t.Errorf("no warning about %s: %s", kind, said)
		}
	}
}

// TestRenamedContainer: a moved probe whose container has another name now still knows its original.
func TestRenamedContainer(t *testing.T) {
	for _, dir := range []string{"testdata/probes", "recorded/0.2.0/probes"} {
		was, pod, ns, s := recordedPod(t, dir)
		was.Spec.Containers[2].Name, pod.Spec.Containers[2].Name = "database", "database"
		want, _ := Pod(pod, ns, s)
		got, refusal := Pod(was, ns, s)
		if refusal != nil {
			t.Fatal(refusal.Message())
		}
		withoutOriginals(want.Pod)
		withoutOriginals(got.Pod)
		if d := cmp.Diff(want.Pod, got.Pod); d != "" {
			t.Errorf("%s: %s", dir, d)
		}
	}
}

// TestNothingIsKept: a name of Tulle's brings nobody past the checks. An init container that looks like
// one of Tulle's is replaced as a whole, one that does not is refused, and so is an ordinary one.
func TestNothingIsKept(t *testing.T) {
	pod, ns, s := load(t, "plain")
	want, _ := Pod(pod, ns, s)
	proxy := int64(names.ProxyUID)
	evil := corev1.Container{
		Name: names.ContainerWait, Image: "evil", Command: []string{protocol.SlotCommand, "x"}, Args: []string{"y"},
		SecurityContext: &corev1.SecurityContext{RunAsUser: &proxy},
		VolumeMounts:    []corev1.VolumeMount{{Name: names.VolumeToken, MountPath: "/steal"}},
	}
	for _, name := range slices.Sorted(maps.Values(constants(t, "Container"))) {
		t.Run(name, func(t *testing.T) {
			evil.Name = name
			p := pod.DeepCopy()
			p.Spec.InitContainers = append(p.Spec.InitContainers, evil)
			got, refusal := Pod(p, ns, s)
			if refusal != nil {
				t.Fatal(refusal.Message())
			}
			if d := cmp.Diff(want.Pod, got.Pod); d != "" {
				t.Error(d)
			}
			own := evil
			own.Command = []string{"/own"}
			p = pod.DeepCopy()
			p.Spec.InitContainers = []corev1.Container{own}
			if _, refusal := Pod(p, ns, s); refusal == nil {
				t.Error("an init container of its own is dropped without a word")
			}
			p = pod.DeepCopy()
			p.Spec.Containers = append(p.Spec.Containers, evil)
			if _, refusal := Pod(p, ns, s); refusal == nil {
				t.Error("an ordinary container is let through")
			}
		})
	}
	// What a moved probe says of its original can't make the agent ask itself.
	for _, original := range []string{`{"httpGet":{"path":"/probe/app/liveness","port":15020}}`, `{"tcpSocket":{"port":15006}}`} {
		p := pod.DeepCopy()
		p.Spec.Containers[0].LivenessProbe = &corev1.Probe{}
		aim := corev1.HTTPGetAction{HTTPHeaders: []corev1.HTTPHeader{{Name: protocol.ProbeHeader, Value: original}}}
		aim.Path, aim.Port.IntVal = protocol.GuessablePath(p.Spec.Containers[0].Name, "liveness"), names.PortAgent
		p.Spec.Containers[0].LivenessProbe.HTTPGet = &aim
		if _, refusal := Pod(p, ns, s); refusal == nil {
			t.Errorf("%s is let through", original)
		}
	}
}

// TestLeftOver: a copy that asks for no proxy, of a pod that had one, becomes the pod that its author wrote, but
// for the sleep of its containers: without labels, with all of them in a namespace without the mesh, or labelled
// anywhere not to have one.
func TestLeftOver(t *testing.T) {
	for _, kept := range []string{"none", "all", "disabled"} {
		for _, name := range []string{"probes", "metrics", "pod-resources"} {
			t.Run(kept+"/"+name, func(t *testing.T) { testLeftOver(t, kept, name) })
		}
	}
}

func testLeftOver(t *testing.T, kept, name string) {
	pod, _, _ := load(t, name)
	copied, ns, s := injected(t, name)
	delete(pod.Labels, names.LabelInject)
	delete(copied.Labels, names.LabelInject)
	switch kept {
	case "none":
		ns.Labels = nil
		for _, p := range []*corev1.Pod{copied, pod} {
			for _, key := range constants(t, "Label") {
				delete(p.Labels, key)
			}
		}
	case "all":
		ns.Labels = nil
	case "disabled":
		ns.Labels = map[string]string{names.LabelInject: names.InjectEnabled}
		for _, p := range []*corev1.Pod{copied, pod} {
			if p.Labels == nil {
				p.Labels = map[string]string{}
			}
			p.Labels[names.LabelInject] = names.InjectDisabled
		}
	}
	r, refusal := Pod(copied, ns, s)
	if refusal != nil || !r.Removed || len(r.Warnings) == 0 {
		t.Fatalf("%+v, %+v", r, refusal)
	}
	linger(pod, s.LingerSeconds)
	if name == "metrics" {
		pod.Annotations[scrapePathAnnotation] = "/stats" // as the agent was told
	}
	for _, p := range []*corev1.Pod{r.Pod, pod} {
		if len(p.Annotations) == 0 {
			p.Annotations = nil
		}
		if len(p.Labels) == 0 {
			p.Labels = nil
		}
		if len(p.Spec.InitContainers)+len(p.Spec.Volumes) == 0 {
			p.Spec.InitContainers, p.Spec.Volumes = nil, nil
		}
	}
	if d := cmp.Diff(string(marshal(t, pod)), string(marshal(t, r.Pod))); d != "" {
		t.Errorf("%s: %s", name, d)
	}
	again, refusal := Pod(r.Pod, ns, s)
	if refusal != nil || again.Pod != nil {
		t.Errorf("%s: %+v, %+v", name, again, refusal)
	}
}

// TestShorterGrace: a pod whose grace period was cut below the sleep that injection gave it is not
// refused for that sleep.
func TestShorterGrace(t *testing.T) {
	pod, ns, s := injected(t, "plain")
	grace := int64(3)
	pod.Spec.TerminationGracePeriodSeconds = &grace
	r, refusal := Pod(pod, ns, s)
	if refusal != nil {
		t.Fatal(refusal.Message())
	}
	if got := r.Pod.Spec.Containers[0].Lifecycle.PreStop.Sleep.Seconds; got != 1 {
		t.Errorf("sleeps for %d s of 3", got)
	}
}

// TestRecordOfMetrics: with the annotation or with either slot the agent still knows where the
// application's metrics are.
func TestRecordOfMetrics(t *testing.T) {
	pod, ns, s := injected(t, "metrics")
	pod.Spec.InitContainers = nil
	r, _ := Pod(pod, ns, s)
	var got protocol.AppMetrics
	if err := json.Unmarshal([]byte(environment(t, r.Pod, names.ContainerSlotA, protocol.EnvMetrics)), &got); err != nil || got.Port != 9100 || got.Path != "/stats" {
		t.Errorf("%+v, %v", got, err)
	}
}
