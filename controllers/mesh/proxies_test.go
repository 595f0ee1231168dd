// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/protocol"
)

// answers plays replicas: what each address answers; an address that is missing refuses.
type answers map[string]string

func (a answers) Get(_ context.Context, pod *corev1.Pod, path string, _ url.Values) ([]byte, error) {
	text, ok := a[pod.Status.PodIP]
	if !ok || path != "/debug/proxies" {
		return nil, errors.New("connection refused")
	}
	return []byte(text), nil
}

func replica(ip string, ready corev1.ConditionStatus) corev1.Pod {
	return corev1.Pod{Status: corev1.PodStatus{PodIP: ip, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}}}
}

// TestConnected: the pods that any of the ready replicas knows, or nothing when one of them can't be asked.
func TestConnected(t *testing.T) {
	two, other, none := `{"connected":2,"cpu":0.25,"proxies":[{"pod":"a","names":7},{"pod":"b","slot":"a"},{"pod":"b","slot":"b"}]}`, `{"proxies":[{"pod":"b","slot":"a"},{"pod":"c"},{"pod":"d"}]}`, `{"cpu":1.5,"proxies":[]}`
	for name, c := range map[string]struct {
		pods    []corev1.Pod
		answers answers
		want    int32   // -1: unknown
		cpu     float64 // 0: unknown
	}{
		"no replica":      {nil, nil, -1, 0},
		"none ready":      {[]corev1.Pod{replica("192.0.2.1", "False")}, answers{"192.0.2.1": two}, -1, 0},
		"one":             {[]corev1.Pod{replica("192.0.2.1", "True")}, answers{"192.0.2.1": two}, 2, 0.25},
		"two":             {[]corev1.Pod{replica("192.0.2.1", "True"), replica("192.0.2.2", "True")}, answers{"192.0.2.1": two, "192.0.2.2": other}, 4, 0},
		"two that tell":   {[]corev1.Pod{replica("192.0.2.1", "True"), replica("192.0.2.2", "True")}, answers{"192.0.2.1": two, "192.0.2.2": none}, 2, 1.75},
		"IPv6":            {[]corev1.Pod{replica("2001:db8::1", "True")}, answers{"2001:db8::1": two}, 2, 0.25},
		"nobody":          {[]corev1.Pod{replica("192.0.2.1", "True")}, answers{"192.0.2.1": none}, 0, 1.5},
		"one is silent":   {[]corev1.Pod{replica("192.0.2.1", "True"), replica("192.0.2.2", "True")}, answers{"192.0.2.1": two}, -1, 0},
		"one talks trash": {[]corev1.Pod{replica("192.0.2.1", "True")}, answers{"192.0.2.1": "<html>"}, -1, 0},
		"one is ending":   {[]corev1.Pod{replica("192.0.2.1", "True"), replica("192.0.2.9", "False")}, answers{"192.0.2.1": two}, 2, 0.25},
	} {
		t.Run(name, func(t *testing.T) {
			list, cpu, complete := Debug{Ask: c.answers}.Proxies(t.Context(), c.pods)
			if (cpu == nil) != (c.cpu == 0) || cpu != nil && *cpu != c.cpu {
				t.Errorf("got %v cores, want %v", cpu, c.cpu)
			}
			if got := connected(list); complete != (c.want >= 0) || complete && got != c.want {
				t.Errorf("got %d, complete: %v, want %d", got, complete, c.want)
			}
		})
	}
}

// TestProxies: what replicas of this and other releases tell, as the upgrade sees it.
func TestProxies(t *testing.T) {
	const old = `{"connected":1,"proxies":[{"namespace":"shop","pod":"old-0","kind":"sidecar","version":"0.2.0","since":"2026-01-02T03:04:05Z","names":7,"pending":1,"rejected":0}],"failures":0}`
	const today = `{"proxies":[
		{"namespace":"shop","pod":"cart-0","slot":"b","agent":"0.3.0","envoy":"1.40.0","since":"2026-01-02T03:04:09Z","pending":2,"rejected":1,
		 "nacks":[{"type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","name":"out/shop/web/80","message":"no"}],
		 "report":{"phase":"Ready","window":"1m0s","requests":250,"failures":3,"p50":1.5,"p99":20.25,"restarts":1,"later":{}},"later":[1]},
		{"namespace":"shop","pod":"cart-0","slot":"a","agent":"0.2.0","since":"2026-01-02T03:04:05Z","report":{"phase":"Draining","message":"handover","window":"10s"}},
		{"namespace":"edge","pod":"gw-0","slot":"a","since":"2026-01-02T03:04:05Z","report":{"phase":"Starting"}}]}`
	const again = `{"proxies":[{"namespace":"edge","pod":"gw-0","slot":"a","since":"2026-01-02T03:04:06Z","report":{"phase":"Ready"},"cut":true}]}`
	one, two, three := replica("192.0.2.1", "True"), replica("192.0.2.2", "True"), replica("192.0.2.3", "True")
	gone := replica("192.0.2.4", "True") // ends, and is not asked
	gone.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	want := []upgrade.Proxy{
		{Namespace: "edge", Pod: "gw-0", Slot: "a", Phase: protocol.PhaseReady, Cut: true},
		{Namespace: "shop", Pod: "cart-0", Slot: "a", Version: "0.2.0", Phase: protocol.PhaseDraining, Message: "handover", Window: 10 * time.Second},
		{
			Namespace: "shop", Pod: "cart-0", Slot: "b", Version: "0.3.0", Envoy: "1.40.0", Phase: protocol.PhaseReady, Pending: 2, Rejected: 1,
			Nacks: []string{"Cluster out/shop/web/80: no"}, Window: time.Minute, Requests: 250, Failures: 3, P50: 1.5, P99: 20.25, Restarts: 1,
		},
		{Namespace: "shop", Pod: "old-0", Pending: 1},
	}
	all := answers{"192.0.2.1": old, "192.0.2.2": today, "192.0.2.3": again}
	for _, pods := range [][]corev1.Pod{{one, two, three, gone}, {gone, three, two, one}, {two, one, three}} {
		got, _, complete := Debug{Ask: all}.Proxies(t.Context(), pods)
		if d := cmp.Diff(want, got); d != "" || !complete {
			t.Errorf("complete: %v (-want +got):\n%s", complete, d)
		}
	}
	delete(all, "192.0.2.3")
	got, _, complete := Debug{Ask: all}.Proxies(t.Context(), []corev1.Pod{one, two, three})
	want[0].Phase, want[0].Cut = protocol.PhaseStarting, false
	if d := cmp.Diff(want, got); d != "" || complete {
		t.Errorf("one is silent: complete: %v (-want +got):\n%s", complete, d)
	}
	if _, _, complete := (Debug{Ask: all}).Proxies(t.Context(), nil); complete {
		t.Error("nobody was asked, and nothing is missing")
	}
}

// slow answers once all of a number of requests have come.
type slow struct {
	answers
	wg *sync.WaitGroup
}

func (s slow) Get(ctx context.Context, pod *corev1.Pod, path string, query url.Values) ([]byte, error) {
	s.wg.Done()
	s.wg.Wait()
	return s.answers.Get(ctx, pod, path, query)
}

// TestProxiesAtOnce: a replica that hangs does not keep the others from being asked.
func TestProxiesAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	wg.Add(2)
	none := `{"proxies":[]}`
	d := Debug{Ask: slow{answers{"192.0.2.1": none, "192.0.2.2": none}, &wg}}
	if _, _, complete := d.Proxies(t.Context(), []corev1.Pod{replica("192.0.2.1", "True"), replica("192.0.2.2", "True")}); !complete {
		t.Error("a replica did not answer")
	}
}

// TestForgedReport: what pods report is on one line each, also where a control plane of an earlier release passes it on.
func TestForgedReport(t *testing.T) {
	const forged = "bad\x1b[2J\n[ok] forged"
	c := connection{Slot: forged, Agent: forged, Envoy: forged, Report: protocol.Report{Message: forged}}
	c.Nacks = append(c.Nacks, struct {
		Type    string `json:"type"`
		Name    string `json:"name"`
		Message string `json:"message"`
	}{"x.Cluster", forged, forged})
	p := c.proxy()
	for _, got := range append(p.Nacks, p.Slot, p.Version, p.Envoy, p.Message) {
		if strings.ContainsAny(got, "\x1b\n") || !strings.Contains(got, "bad�[2J [ok] forged") {
			t.Errorf("%q", got)
		}
	}
	note := eventOf(&v1alpha1.Mesh{}, upgrade.Event{Message: strings.Repeat("x\n", maxNote)}, time.Now()).Note
	if strings.Contains(note, "\n") || len(note) > maxNote {
		t.Errorf("a note of %d bytes: %q", len(note), note)
	}
}
