// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// mostOfAWorkload is how many bytes may be kept of a pod, as JSON.
const mostOfAWorkload = 2000

// writtenBy is a pod whose author has written the given text everywhere.
func writtenBy(proxy, record, text string) *corev1.Pod {
	p := &corev1.Pod{}
	p.Namespace, p.Name = "evil", "p"
	p.Labels = map[string]string{names.LabelProxy: proxy, names.LabelGateway: names.GatewayLabel(text), names.LabelClient: text, text: text}
	p.Annotations = map[string]string{
		names.AnnotationInjected: record, names.AnnotationGateway: text, names.AnnotationProxyLogLevel: text, names.AnnotationProxyConcurrency: text, names.AnnotationDrainSeconds: text, text: text,
	}
	p.Spec.Containers = []corev1.Container{{Name: text, Image: text, Args: []string{text}, Ports: []corev1.ContainerPort{{Name: text, ContainerPort: 80}}}}
	p.Status.Phase, p.Status.Message = corev1.PodPhase(text), text
	return p
}

func checkKept(t *testing.T, w model.Workload) {
	t.Helper()
	kept, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	if len(kept) > mostOfAWorkload {
		t.Errorf("%d bytes of a pod are kept: %.300s", len(kept), kept)
	}
	ports := w.ExcludedInboundPorts
	if len(ports) > protocol.MaxExcludedInboundPorts || !slices.IsSorted(ports) || len(slices.Compact(slices.Clone(ports))) != len(ports) {
		t.Errorf("excluded ports are %v", ports)
	}
	if w.LogLevel != "" && !slices.Contains(names.ProxyLogLevels(), w.LogLevel) {
		t.Errorf("log level is %q", w.LogLevel)
	}
}

// TestWorkloadsAreSmall: whatever the author of a pod writes into it, little of it is kept.
func TestWorkloadsAreSmall(t *testing.T) {
	var ports []uint16
	for p := range uint16(45_000) {
		ports = append(ports, 45_000-p)
	}
	long := strings.Repeat("x", 250<<10)
	for name, in := range map[string]protocol.Injected{
		"many ports":            {Version: "0.3.0", Revision: "0-3-0", ExcludedInboundPorts: ports},
		"a long version":        {Version: long},
		"a long revision":       {Version: "0.3.0", Revision: long},
		"many warnings":         {Version: "0.3.0", Warnings: slices.Repeat([]string{"x"}, 50_000)},
		"a long path":           {Version: "0.3.0", AppMetrics: &protocol.AppMetrics{Path: long}},
		"nothing of the record": {},
	} {
		record, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, proxy := range []string{names.KindSidecar, names.KindGateway, ""} {
			t.Run(fmt.Sprint(name, ", ", proxy), func(t *testing.T) {
				w := WorkloadFrom(writtenBy(proxy, string(record), long))
				checkKept(t, w)
				if name == "many ports" && proxy == names.KindSidecar {
					if w.Meshed(1) || w.Meshed(protocol.MaxExcludedInboundPorts) {
						t.Error("a port of the record is not excluded")
					}
					if !w.Meshed(protocol.MaxExcludedInboundPorts+1) || !w.Meshed(45_000) {
						t.Error("peers may use plaintext for a port beyond the bound")
					}
				}
			})
		}
	}
}

// FuzzWorkload: whatever a pod says, what is kept of it is small and in order.
func FuzzWorkload(f *testing.F) {
	f.Add(names.KindSidecar, `{"version":"0.3.0","revision":"0-3-0","excludedInboundPorts":[9,8,8]}`, "debug")
	f.Add(names.KindGateway, `{}`, strings.Repeat("g", 300))
	f.Add("", `{"version":1}`, "grpc")
	f.Fuzz(func(t *testing.T, proxy, record, text string) {
		checkKept(t, WorkloadFrom(writtenBy(proxy, record, text)))
	})
}
