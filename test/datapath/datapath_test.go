// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package datapath

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
	"tulle.dev/tulle/test/load"
)

// requests of each measurement: some seconds of work, so that the kubelet's counters are fine enough.
const requests = 20000

// row is one measurement.
type row struct {
	path, protocol string
	sum            load.Summary
	client, server float64 // CPU µs of the proxy's containers per request
}

// TestCost runs each protocol directly and through two sidecars.
func TestCost(t *testing.T) {
	c := cluster.Connect(t)
	var rows []row
	for _, meshed := range []bool{false, true} {
		label := names.InjectDisabled
		path := "direct"
		if meshed {
			label, path = names.InjectEnabled, "two sidecars"
		}
		ns := c.Namespace(t, "cost", names.LabelInject+"="+label)
		c.Deploy(t, ns, cluster.Echo{
			Name: "server", Args: []string{"-tcp", ":9000"},
			Ports: "[{name: http, port: 80, targetPort: 8080}, {name: tcp, port: 9000, targetPort: 9000}]",
		})
		c.Ready(t, ns, "server")
		for protocol, args := range map[string][]string{
			"HTTP/1.1": {"-url", "http://server/bytes/100"},
			"HTTP/2":   {"-url", "http://server/bytes/100", "-h2"},
			"TCP":      {"-url", "tcp://server:9000"},
		} {
			server := c.Pods(t, ns, "app=server")[0]
			before := proxyCPU(t, c, server)
			run := c.Load(t, ns, meshed, append(args, "-count", strconv.Itoa(requests), "-workers", "16", "-linger", "45s")...)
			sum := run.Wait(t, 5*time.Minute)
			if sum.Failed > 0 {
				t.Errorf("%s, %s: %d failed: %v", path, protocol, sum.Failed, sum.Failures)
			}
			r := row{path: path, protocol: protocol, sum: sum, server: perRequest(proxyCPU(t, c, server) - before)}
			if meshed {
				r.client = perRequest(proxyCPU(t, c, run.Pod(t)))
			}
			rows = append(rows, r)
		}
		if meshed {
			t.Logf("an idle server's proxy containers:\n%s", memory(t, c, c.Pods(t, ns, "app=server")[0]))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-13s %-9s %9s %8s %8s %22s\n", "path", "protocol", "req/s", "p50 ms", "p99 ms", "proxy CPU µs/request")
	for _, r := range rows {
		fmt.Fprintf(&b, "%-13s %-9s %9.0f %8.2f %8.2f %10.0f out, %4.0f in\n", r.path, r.protocol, float64(r.sum.OK)/r.sum.Seconds, r.sum.P50, r.sum.P99, r.client, r.server)
	}
	t.Log(b.String())
	for _, r := range rows {
		if r.path == "two sidecars" && (r.client == 0 || r.server == 0) {
			t.Errorf("%s: no CPU time of the proxies was counted", r.protocol)
		}
	}
}

func perRequest(nanoseconds uint64) float64 { return float64(nanoseconds) / 1000 / requests }

// summary is the part of the kubelet's stats/summary that is read.
type summary struct {
	Pods []struct {
		PodRef     struct{ Name, Namespace string }
		Containers []struct {
			Name string
			CPU  struct {
				Time                 time.Time
				UsageCoreNanoSeconds uint64
			}
			Memory struct{ RSSBytes, WorkingSetBytes uint64 }
		}
	}
}

func stats(t *testing.T, c *cluster.Cluster, p corev1.Pod) summary {
	t.Helper()
	b, err := c.Kube.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes/" + p.Spec.NodeName + "/proxy/stats/summary").DoRaw(t.Context())
	if err != nil {
		t.Fatalf("ask the kubelet: %v", err)
	}
	var s summary
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// proxyCPU is the CPU time of a pod's two slots in nanoseconds, once the kubelet has looked after now; 0 without a proxy.
func proxyCPU(t *testing.T, c *cluster.Cluster, p corev1.Pod) uint64 {
	t.Helper()
	if p.Labels[names.LabelProxy] == "" {
		return 0
	}
	now := time.Now()
	sum := uint64(0)
	cluster.Eventually(t, time.Minute, "the kubelet's counters of "+p.Name, func() error {
		sum = 0
		for _, pod := range stats(t, c, p).Pods {
			if pod.PodRef.Name != p.Name || pod.PodRef.Namespace != p.Namespace {
				continue
			}
			for _, k := range pod.Containers {
				if k.Name != names.ContainerSlotA {
					continue
				}
				if k.CPU.Time.Before(now) {
					return fmt.Errorf("as of %v", k.CPU.Time)
				}
				sum += k.CPU.UsageCoreNanoSeconds
			}
		}
		if sum == 0 {
			return fmt.Errorf("none yet")
		}
		return nil
	})
	return sum
}

func memory(t *testing.T, c *cluster.Cluster, p corev1.Pod) string {
	t.Helper()
	var b strings.Builder
	for _, pod := range stats(t, c, p).Pods {
		if pod.PodRef.Name != p.Name || pod.PodRef.Namespace != p.Namespace {
			continue
		}
		for _, k := range pod.Containers {
			fmt.Fprintf(&b, "  %-14s RSS %5.1f MB, working set %5.1f MB\n", k.Name, float64(k.Memory.RSSBytes)/1e6, float64(k.Memory.WorkingSetBytes)/1e6)
		}
	}
	return b.String()
}
