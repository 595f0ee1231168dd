// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// presetPod is a pod whose author wrote what injection records: the annotation, a slot with an environment, a
// moved probe.
func presetPod(t testing.TB, record, probes, metrics, header string) *corev1.Pod {
	t.Helper()
	path := protocol.GuessablePath("app", "liveness")
	pod := &corev1.Pod{}
	pod.Annotations = map[string]string{names.AnnotationInjected: record, scrapeAnnotation: "true", scrapePortAnnotation: fmt.Sprint(names.PortAgent)}
	pod.Spec.InitContainers = []corev1.Container{{
		Name: names.ContainerSlotA, Command: []string{protocol.SlotCommand, "run"},
		Env: []corev1.EnvVar{{Name: protocol.EnvProbes, Value: probes}, {Name: protocol.EnvMetrics, Value: metrics}},
	}}
	get := &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(names.PortAgent)}
	if header != "" {
		get.HTTPHeaders = []corev1.HTTPHeader{{Name: protocol.ProbeHeader, Value: header}}
	}
	pod.Spec.Containers = []corev1.Container{{
		Name: "app", Image: "i", Ports: []corev1.ContainerPort{{ContainerPort: 8080}, {ContainerPort: 8081}},
		LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: get}},
	}}
	return pod
}

// TestPresetProbes: a recorded probe is refused for what a probe of the author's is refused for, and one that
// is none counts as lost.
func TestPresetProbes(t *testing.T) {
	_, ns, s := load(t, "plain")
	many := strings.Repeat(`{"name":"a","value":"b"},`, maxProbeHeaders) + `{"name":"a","value":"b"}`
	pairs := strings.Repeat(`["a","b"],`, maxProbeHeaders) + `["a","b"]`
	record := func(probe string) string { return `{"/probe/app/liveness":` + probe + `}` }
	for name, c := range map[string]struct {
		probes, header string
		refused, lost  bool
	}{
		"good":                   {header: `{"tcpSocket":{"port":8080}}`},
		"good record":            {probes: record(`{"tcp":{"port":8080}}`)},
		"the agent":              {header: `{"httpGet":{"port":15020,"path":"/probe/app/liveness"}}`, refused: true},
		"the agent by a record":  {probes: record(`{"http":{"port":15020,"path":"/metrics"}}`), refused: true},
		"the agent over TCP":     {probes: record(`{"tcp":{"port":15021}}`), refused: true},
		"the agent over gRPC":    {probes: record(`{"grpc":{"port":15006}}`), refused: true},
		"two kinds":              {header: `{"tcpSocket":{"port":8080},"exec":{"command":["x"]}}`, lost: true},
		"two kinds in a record":  {probes: record(`{"tcp":{"port":8080},"http":{"port":8080}}`), lost: true},
		"no kind":                {header: `{}`, lost: true},
		"no kind in a record":    {probes: record(`{}`), lost: true},
		"many headers":           {header: `{"httpGet":{"port":8080,"httpHeaders":[` + many + `]}}`, lost: true},
		"many in a record":       {probes: record(`{"http":{"port":8080,"path":"/","headers":[` + pairs + `]}}`), lost: true},
		"a long record":          {probes: record(`{"http":{"port":8080,"path":"/` + strings.Repeat("x", maxRecorded) + `"}}`), lost: true},
		"a record that is large": {probes: record(`{"http":{"port":8080,"path":"/` + strings.Repeat("x", maxRecord) + `"}}`), lost: true},
		"not JSON":               {header: `{`, probes: `[`, lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			r, refusal := Pod(presetPod(t, "{}", c.probes, "", c.header), ns, s)
			if (refusal != nil) != c.refused {
				t.Fatalf("%+v, %+v", r, refusal)
			}
			if refusal != nil {
				return
			}
			if gone := r.Pod.Spec.Containers[0].LivenessProbe == nil; gone != c.lost {
				t.Errorf("lost: %v; %v", gone, r.Warnings)
			}
			answered(t, r.Pod)
		})
	}
}

// TestPresetMetrics: a recorded address of metrics that an author may not write counts as none.
func TestPresetMetrics(t *testing.T) {
	_, ns, s := load(t, "plain")
	for metrics, want := range map[string]bool{
		`{"port":9100,"path":"/stats"}`: true, `{"port":15020,"path":"/metrics"}`: false, `{"port":15000,"path":"x"}`: false, `{"port":0,"path":"/"}`: false, `{"port":99999,"path":"/"}`: false, `{"port":9100,"path":"/` + strings.Repeat("x", maxMetricsPath) + `"}`: false,
	} {
		for name, pod := range map[string]*corev1.Pod{
			"record":      presetPod(t, `{"appMetrics":`+metrics+`}`, "", "", `{"tcpSocket":{"port":8080}}`),
			"environment": presetPod(t, "", "", metrics, `{"tcpSocket":{"port":8080}}`),
		} {
			r, refusal := Pod(pod, ns, s)
			if refusal != nil {
				t.Fatal(refusal.Message())
			}
			var got protocol.AppMetrics
			text := environment(t, r.Pod, names.ContainerSlotA, protocol.EnvMetrics)
			if text != "" && json.Unmarshal([]byte(text), &got) != nil {
				t.Fatal(text)
			}
			if (got.Port == 9100) != want || !want && got.Port != 0 {
				t.Errorf("%s %s: %+v", name, metrics, got)
			}
		}
	}
}

// TestPresetSlots: a preset slot gives the new one no file to hide others with.
func TestPresetSlots(t *testing.T) {
	pod, ns, s := load(t, "plain")
	want, _ := Pod(pod, ns, s)
	for _, path := range []string{"/tulle-slot", protocol.TokenFile, "/dev/other", corev1.TerminationMessagePathDefault} {
		again := want.Pod.DeepCopy()
		for i := range again.Spec.InitContainers {
			again.Spec.InitContainers[i].TerminationMessagePath = path
		}
		r, refusal := Pod(again, ns, s)
		if refusal != nil {
			t.Fatal(refusal.Message())
		}
		for _, c := range r.Pod.Spec.InitContainers {
			if ourContainer(c.Name) && c.TerminationMessagePath != "" && c.TerminationMessagePath != corev1.TerminationMessagePathDefault {
				t.Errorf("%s writes to %s", c.Name, c.TerminationMessagePath)
			}
		}
	}
}

// FuzzPreset: whatever an author writes as the record of an injection, nothing panics, no probe that is moved is
// left without an answer, and a second pass changes nothing.
func FuzzPreset(f *testing.F) {
	f.Add("{}", `{"/probe/app/liveness":{"tcp":{"port":8080}}}`, `{"port":9100,"path":"/stats"}`, "")
	f.Add(`{"addedToPod":{"cpu":"1"},"appMetrics":{"port":1,"path":"/"}}`, "", "", `{"tcpSocket":{"port":8080}}`)
	f.Add(`{"addedToPod":{"cpu":"1e999999999"}}`, "[", "{", `{"httpGet":{"port":15020}}`)
	f.Add("", `{"/probe/app/liveness":{"http":{"port":80,"path":"$(X)","headers":[["a","b"]]}}}`, "null", `{"httpGet":{"port":"web","host":"x"}}`)
	ns, s := NamespaceFacts{Name: "n", Labels: map[string]string{names.LabelInject: names.InjectEnabled}}, testSettings()
	f.Fuzz(func(t *testing.T, record, probes, metrics, header string) {
		r, refusal := Pod(presetPod(t, record, probes, metrics, header), ns, s)
		if refusal != nil {
			return
		}
		answered(t, r.Pod)
		again(t, r.Pod, ns, s)
	})
}
