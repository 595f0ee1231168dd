// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
	"tulle.dev/tulle/internal/testing/cluster"
)

// attackFor is how long strangers send what they can.
const attackFor = 30 * time.Second

// TestStrangersAtTheControlPlane: clients without credentials send reviews and certificate requests that are
// small and decode to much, slow ones, and connections without any, to the Service and to every replica. No
// replica restarts, memory stays near what it was, and pods are injected in time meanwhile.
func TestStrangersAtTheControlPlane(t *testing.T) {
	c := cluster.Connect(t)
	ns := c.Namespace(t, "strangers", meshed)
	pod := func() *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "real-", Namespace: ns},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "tulle.local/echo:" + cluster.Tag()}}},
		}
	}
	cluster.Eventually(t, 20*time.Second, "the namespace has its ServiceAccount", func() error { return c.Create(t.Context(), pod(), client.DryRunAll) })
	replicas := c.Pods(t, names.SystemNamespace, names.LabelApp+"="+names.ControlPlaneService)
	svc := &corev1.Service{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: names.SystemNamespace, Name: names.ControlPlaneService}, svc); err != nil {
		t.Fatal(err)
	}
	webhooks := []string{net.JoinHostPort(svc.Spec.ClusterIP, strconv.Itoa(names.PortWebhookIn))}
	signers := []string{net.JoinHostPort(svc.Spec.ClusterIP, strconv.Itoa(names.PortSign))}
	idle := map[string]float64{}
	for _, p := range replicas {
		webhooks = append(webhooks, net.JoinHostPort(p.Status.PodIP, strconv.Itoa(names.PortWebhook)))
		signers = append(signers, net.JoinHostPort(p.Status.PodIP, strconv.Itoa(names.PortSign)))
		idle[p.Name] = gauge(t, p.Status.PodIP, "process_resident_memory_bytes")
		if limit := p.Spec.Containers[0].Resources.Limits.Memory().Value(); limit > 0 {
			if got := gauge(t, p.Status.PodIP, "go_gc_gomemlimit_bytes"); got > 0.95*float64(limit) {
				t.Errorf("%s: the heap's limit is %.0f MiB of %d", p.Name, got/(1<<20), limit>>20)
			}
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), attackFor)
	defer cancel()
	var all sync.WaitGroup
	stranger := func() *http.Client {
		return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // an attacker's
	}
	repeatedly := func(f func()) {
		all.Go(func() {
			for ctx.Err() == nil {
				f()
			}
		})
	}
	post := func(c *http.Client, url string, body io.Reader, length int64) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
		if err != nil {
			t.Error(err)
			return
		}
		req.ContentLength = length
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer x")
		if resp, err := c.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	}
	for _, addr := range webhooks {
		url := "https://" + addr + names.InjectPath
		for _, bomb := range webhookBombs() {
			for range 3 {
				body, c := review(ns, bomb), stranger()
				repeatedly(func() { post(c, url, strings.NewReader(body), int64(len(body))) })
			}
		}
		repeatedly(func() { // announced and never sent
			r, w := io.Pipe()
			go func() { _, _ = w.Write([]byte("{")) }()
			post(stranger(), url, r, 4<<20)
			_ = w.Close()
		})
		all.Go(func() { hang(ctx, addr, 1000) })
	}
	for _, addr := range signers {
		body, c := `{"csr":`+strings.Repeat("[", 10_000), stranger()
		repeatedly(func() { post(c, "https://"+addr+protocol.SignPath, strings.NewReader(body), int64(len(body))) })
		all.Go(func() { hang(ctx, addr, 1000) })
	}

	injected := 0
	for ctx.Err() == nil {
		began, p := time.Now(), pod()
		err := c.Create(t.Context(), p, client.DryRunAll)
		if took := time.Since(began); err != nil || p.Labels[names.LabelProxy] != names.KindSidecar {
			t.Errorf("pod %d, after %v: %v", injected, took, err)
		}
		injected++
		time.Sleep(100 * time.Millisecond) // a pace, not a wait
	}
	all.Wait()
	t.Logf("%d pods were injected meanwhile", injected)
	for _, before := range replicas {
		p := &corev1.Pod{}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(&before), p); err != nil {
			t.Fatal(err)
		}
		if was, now := before.Status.ContainerStatuses[0].RestartCount, p.Status.ContainerStatuses[0].RestartCount; now != was {
			t.Errorf("%s restarted %d times: %+v", p.Name, now-was, p.Status.ContainerStatuses[0].LastTerminationState)
			continue
		}
		got := gauge(t, p.Status.PodIP, "process_resident_memory_bytes")
		t.Logf("%s: %.0f MiB before, %.0f MiB after", p.Name, idle[p.Name]/(1<<20), got/(1<<20))
		if got > 2*idle[p.Name]+(64<<20) {
			t.Errorf("%s: %.0f MiB, it was %.0f", p.Name, got/(1<<20), idle[p.Name]/(1<<20))
		}
	}
}

// webhookBombs are pods that are small as JSON and would be large, or take long, when they are decoded.
func webhookBombs() []string {
	return []string{
		`{"spec":{"containers":[{}` + strings.Repeat(",{}", 1_390_000) + `]}}`,
		`{"spec":` + strings.Repeat(`{"a":[`, 300_000) + strings.Repeat("]}", 300_000) + `}`,
		`{"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":"1111111111111111111e999999999"}}}]}}`,
		`{"spec":{"containers":[{"name":"` + strings.Repeat("n", 1_000_000) + `","ports":[{"containerPort":15001}` + strings.Repeat(`,{"containerPort":15001}`, 9000) + `]}]}}`,
	}
}

func review(ns, pod string) string {
	return `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"CREATE","namespace":"` + ns + `",` +
		`"resource":{"group":"","version":"v1","resource":"pods"},"object":` + pod + `}}`
}

// hang opens connections and says nothing on them.
func hang(ctx context.Context, addr string, n int) {
	var d net.Dialer
	for range n {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			continue
		}
		defer c.Close()
	}
	<-ctx.Done()
}

// gauge reads a metric without labels of a replica.
func gauge(t *testing.T, ip, name string) float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://%s/metrics", net.JoinHostPort(ip, strconv.Itoa(names.PortMonitor))), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		if value, ok := strings.CutPrefix(s.Text(), name+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
