// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package routes

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/test/figures"
)

// usage is what has been used until a moment, by all replicas of the control plane together, which all
// do the same work but for writing status.
type usage struct {
	at       time.Time
	replicas int
	// seconds of CPU: of the control plane, and of the API server, which is what to compare with.
	cpu, apiCPU float64
	// heap, alive and resident are the control plane's memory in bytes: its heap in use, which has garbage
	// in it, what of the heap was alive when garbage was last collected, and what it holds of the system.
	heap, alive, resident float64
	// requests were made of the API server about HTTPRoutes, by whomever.
	requests float64
	// bytes, responses and resources were sent to proxies, whatever their types.
	bytes, responses, resources float64
	// envoy is what the Envoy of one proxy of the Gateway has allocated, in bytes.
	envoy float64
}

// usage reads the metrics of the control plane and of the API server, and asks an Envoy.
func (w *world) usage(t *testing.T) usage {
	t.Helper()
	u := usage{}
	// The API server counts first what costs it most, which is to tell its metrics: so it is asked first
	// every time, and what the asking costs is the same in all differences.
	api, err := w.Kube.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	if err != nil {
		t.Fatalf("ask the API server for its metrics: %v", err)
	}
	u.apiCPU = sum(t, string(api), "process_cpu_seconds_total")
	u.requests = sum(t, string(api), "apiserver_request_total", `resource="httproutes"`)
	for _, p := range w.Pods(t, names.SystemNamespace, names.LabelApp+"="+names.ControlPlaneService) {
		text, err := w.Kube.CoreV1().Pods(p.Namespace).ProxyGet("http", p.Name, strconv.Itoa(names.PortMonitor), "/metrics", nil).DoRaw(t.Context())
		if err != nil {
			t.Fatalf("ask %s for its metrics: %v", p.Name, err)
		}
		scrape := string(text)
		u.replicas++
		u.cpu += sum(t, scrape, "process_cpu_seconds_total")
		u.heap += sum(t, scrape, "go_memstats_heap_inuse_bytes")
		// The collector runs again when the heap has grown by this share of what was alive.
		growth := sum(t, scrape, "go_gc_gogc_percent") / 100
		u.alive += sum(t, scrape, "go_memstats_next_gc_bytes") / (1 + growth)
		u.resident += sum(t, scrape, "process_resident_memory_bytes")
		u.bytes += sum(t, scrape, "tulle_xds_response_bytes_total")
		u.responses += sum(t, scrape, "tulle_xds_responses_total")
		u.resources += sum(t, scrape, "tulle_xds_resources_total")
	}
	u.at = time.Now()
	if u.replicas == 0 {
		t.Fatal("the control plane has no pods")
	}
	u.envoy = w.envoyMemory(t)
	return u
}

func sum(t *testing.T, scrape, metric string, labels ...string) float64 {
	t.Helper()
	v, ok := figures.Sum(scrape, metric, labels...)
	if !ok {
		t.Fatalf("there is no metric %s", metric)
	}
	return v
}

// envoyMemory asks the Envoy of the Gateway's first pod what it has allocated.
func (w *world) envoyMemory(t *testing.T) float64 {
	t.Helper()
	pod := w.gatewayPods(t)[0]
	// Either slot asks the one that serves.
	out, err := w.Exec(t.Context(), pod.Namespace, pod.Name, names.ContainerSlotA, "/tulle-proxy", "admin", "GET", "/memory")
	if err != nil {
		t.Fatal(err)
	}
	var memory struct{ Allocated string } // protobuf writes 64 bits as a string
	if err := json.Unmarshal([]byte(out), &memory); err != nil {
		t.Fatalf("read %q: %v", out, err)
	}
	n, err := strconv.ParseFloat(memory.Allocated, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// rate is what a second costs when nothing is changed, with all that is asked and watched going on.
type rate struct{ cpu, apiCPU float64 }

// idle measures for so long.
func (w *world) idle(t *testing.T, d time.Duration) rate {
	t.Helper()
	before := w.usage(t)
	time.Sleep(d)
	after := w.usage(t)
	passed := after.at.Sub(before.at).Seconds()
	return rate{cpu: (after.cpu - before.cpu) / passed, apiCPU: (after.apiCPU - before.apiCPU) / passed}
}

// cost is what one edit costs.
type cost struct {
	// cpu of all of the control plane's replicas, and the API server's.
	cpu, apiCPU time.Duration
	// requests to the API server about HTTPRoutes, the edit itself among them.
	requests float64
	// bytes, responses and resources to each of the Gateway's proxies.
	bytes, responses, resources float64
}

// perEdit is the difference between two moments but for what would have been used anyway, by edit.
func perEdit(before, after usage, idle rate, edits int) (cost, error) {
	// A replica that began again counts from nothing.
	if before.replicas != after.replicas || after.cpu < before.cpu || after.bytes < before.bytes {
		return cost{}, fmt.Errorf("the control plane's replicas are not the same as before")
	}
	passed, n := after.at.Sub(before.at).Seconds(), float64(edits)
	seconds := func(s float64) time.Duration { return time.Duration(max(s, 0) / n * float64(time.Second)) }
	return cost{
		cpu:       seconds(after.cpu - before.cpu - idle.cpu*passed),
		apiCPU:    seconds(after.apiCPU - before.apiCPU - idle.apiCPU*passed),
		requests:  (after.requests - before.requests) / n,
		bytes:     (after.bytes - before.bytes) / n / gatewayReplicas,
		responses: (after.responses - before.responses) / n / gatewayReplicas,
		resources: (after.resources - before.resources) / n / gatewayReplicas,
	}, nil
}
