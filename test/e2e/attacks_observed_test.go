// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// podState is what must not change of a pod.
type podState struct {
	uid      types.UID
	restarts int32 // of all containers, those of the proxy included
	ready    corev1.ConditionStatus
	since    metav1.Time
	ended    string // why the containers that restarted ended, the last time
}

// podStates are those of the pods of namespaces, by "namespace/name".
func podStates(t *testing.T, c *cluster.Cluster, namespaces ...string) map[string]podState {
	t.Helper()
	out := map[string]podState{}
	for _, ns := range namespaces {
		var pods corev1.PodList
		if err := c.List(t.Context(), &pods, client.InNamespace(ns)); err != nil {
			t.Fatal(err)
		}
		for _, p := range pods.Items {
			s := podState{uid: p.UID}
			for _, k := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
				s.restarts += k.RestartCount
				if e := k.LastTerminationState.Terminated; e != nil {
					s.ended += fmt.Sprintf(" %s: %s", k.Name, e.Reason)
				}
			}
			for _, k := range p.Status.Conditions {
				if k.Type == corev1.PodReady {
					s.ready, s.since = k.Status, k.LastTransitionTime
				}
			}
			out[ns+"/"+p.Name] = s
		}
	}
	return out
}

// samePods checks that no container was restarted, no pod replaced, and none became NotReady, not even for a while.
func samePods(t *testing.T, before, after map[string]podState) {
	t.Helper()
	restarts := int32(0)
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(before)) {
		was, now := before[name], after[name]
		restarts += max(0, now.restarts-was.restarts)
		switch {
		case now.uid != was.uid:
			wrong = append(wrong, name+" is not there any more")
		case now.restarts != was.restarts:
			wrong = append(wrong, fmt.Sprintf("%s: %d restarts:%s", name, now.restarts-was.restarts, now.ended))
		case now.ready != was.ready || !now.since.Equal(&was.since):
			wrong = append(wrong, fmt.Sprintf("%s: its condition Ready changed at %v to %s", name, now.since, now.ready))
		}
	}
	t.Logf("%d pods: %d restarts of containers, %d pods changed", len(before), restarts, len(wrong))
	for _, w := range wrong {
		t.Error(w)
	}
}

// memoryPeaks are the highest values that were seen, in bytes.
type memoryPeaks struct {
	controlPlane map[string]float64 // resident, by pod
	heap         map[string]float64 // of Envoy, by victim
	working      map[string]float64 // working set of the container that has most, as the kubelet counts, by victim
}

// watchMemory looks every second until the function that it returns is called.
func watchMemory(t *testing.T, c *cluster.Cluster, victims map[string]victim) func() memoryPeaks {
	t.Helper()
	m := memoryPeaks{map[string]float64{}, map[string]float64{}, map[string]float64{}}
	done := make(chan struct{})
	var wg sync.WaitGroup
	stop := sync.OnceFunc(func() {
		close(done)
		wg.Wait()
	})
	t.Cleanup(stop) // for a test that ends early
	wg.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			for name, r := range controlPlane(t, c) {
				m.controlPlane[name] = max(m.controlPlane[name], r.memory)
			}
			for name, v := range victims {
				m.heap[name] = max(m.heap[name], v.heap(t.Context()))
				m.working[name] = max(m.working[name], v.working(t.Context(), c))
			}
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	return func() memoryPeaks {
		stop()
		return m
	}
}

// metrics returns what the agent answers to a scrape, or what came of it: it may not answer in time if it is attacked.
func (v victim) metrics(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+v.port(strconv.Itoa(names.PortAgent))+"/metrics", nil)
	if err != nil {
		return ""
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return string(text)
}

// heap is what Envoy has allocated, in bytes; 0 if that is unknown.
func (v victim) heap(ctx context.Context) float64 {
	for line := range strings.Lines(v.metrics(ctx)) {
		if strings.HasPrefix(line, "envoy_server_memory_allocated") {
			fields := strings.Fields(line)
			bytes, _ := strconv.ParseFloat(fields[len(fields)-1], 64)
			return bytes
		}
	}
	return 0
}

// limits are words in the names of metrics that tell what a proxy's limits did, and why its connections ended.
var limits = []string{"_flood", "overload_close", "overload_reject", "overload_disable", "premature", "protocol_error", "keepalive_timeout", "messaging_error", "_overflow", "rx_reset", "tx_reset"}

// counters are the proxy's metrics of limits that are not 0.
func (v victim) counters(ctx context.Context) string {
	var out []string
	for line := range strings.Lines(v.metrics(ctx)) {
		name, _, _ := strings.Cut(line, "{")
		if !strings.HasPrefix(line, "#") && !strings.HasSuffix(line, " 0\n") && slices.ContainsFunc(limits, func(l string) bool { return strings.Contains(name, l) }) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return strings.Join(out, "; ")
}

// working is the working set of the proxy's container that has most; 0 if the kubelet does not know.
func (v victim) working(ctx context.Context, c *cluster.Cluster) float64 {
	var nodes struct {
		Pods []struct {
			PodRef     struct{ Name, Namespace string }
			Containers []struct {
				Name   string
				Memory struct{ WorkingSetBytes float64 }
			}
		}
	}
	b, err := c.Kube.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes/" + v.Spec.NodeName + "/proxy/stats/summary").DoRaw(ctx)
	if err != nil || json.Unmarshal(b, &nodes) != nil {
		return 0
	}
	most := 0.0
	for _, p := range nodes.Pods {
		if p.PodRef.Name != v.Name || p.PodRef.Namespace != v.Namespace {
			continue
		}
		for _, k := range p.Containers {
			if k.Name == names.ContainerSlotA || k.Name == names.ContainerSlotB {
				most = max(most, k.Memory.WorkingSetBytes)
			}
		}
	}
	return most
}

// limit is the memory limit of the proxy's containers, in bytes; 0 is none.
func (v victim) limit() float64 {
	for _, k := range v.Spec.InitContainers {
		if k.Name == names.ContainerSlotA {
			return float64(k.Resources.Limits.Memory().Value())
		}
	}
	return 0
}

// check logs the peaks and checks them. A proxy's heap may have seven eighths of its container's memory, and
// returns memory from 95 % of that on.
func (m memoryPeaks) check(t *testing.T, victims map[string]victim, idle map[string]replica) {
	t.Helper()
	const mib = 1 << 20
	for _, name := range slices.Sorted(maps.Keys(victims)) {
		limit, heap, working := victims[name].limit(), m.heap[name], m.working[name]
		t.Logf("proxy of %s: at most %.0f MiB in the heap, %.0f MiB in the container, of %.0f MiB", name, heap/mib, working/mib, limit/mib)
		switch {
		case heap == 0:
			t.Errorf("the agent of %s answered no scrape in all the time", name)
		case limit == 0:
			t.Errorf("the proxy of %s has no memory limit", name)
		case heap > 0.95*(limit-max(limit/8, 32*mib)) || working > limit:
			t.Errorf("the proxy of %s used %.0f MiB in the heap and %.0f MiB in the container, of %.0f MiB", name, heap/mib, working/mib, limit/mib)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(idle)) {
		was, most := idle[name].memory, m.controlPlane[name]
		t.Logf("control plane %s: %.0f MiB before, at most %.0f MiB", name, was/mib, most/mib)
		if was == 0 || most > 2*was+32*mib {
			t.Errorf("control plane %s: %.0f MiB before, at most %.0f MiB", name, was/mib, most/mib)
		}
	}
}
