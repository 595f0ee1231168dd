// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// answers plays replicas: what each address answers; an address that is missing refuses.
type answers map[string]string

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	text, ok := a[r.URL.Hostname()]
	if !ok || r.URL.Port() != "15014" || r.URL.Path != "/debug/proxies" {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
}

func replica(ip string, ready corev1.ConditionStatus) corev1.Pod {
	return corev1.Pod{Status: corev1.PodStatus{PodIP: ip, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}}}
}

// TestConnected: the sum over ready replicas, or nothing when one of them can't be asked.
func TestConnected(t *testing.T) {
	two, none := `{"connected":2,"proxies":[{"pod":"a","names":7},{"pod":"b"}]}`, `{"proxies":[]}`
	for name, c := range map[string]struct {
		pods    []corev1.Pod
		answers answers
		want    int32 // -1: unknown
	}{
		"no replica":      {nil, nil, -1},
		"none ready":      {[]corev1.Pod{replica("192.0.2.1", "False")}, answers{"192.0.2.1": two}, -1},
		"one":             {[]corev1.Pod{replica("192.0.2.1", "True")}, answers{"192.0.2.1": two}, 2},
		"two":             {[]corev1.Pod{replica("192.0.2.1", "True"), replica("192.0.2.2", "True")}, answers{"192.0.2.1": two, "192.0.2.2": two}, 4},
		"IPv6":            {[]corev1.Pod{replica("2001:db8::1", "True")}, answers{"2001:db8::1": two}, 2},
		"nobody":          {[]corev1.Pod{replica("192.0.2.1", "True")}, answers{"192.0.2.1": none}, 0},
		"one is silent":   {[]corev1.Pod{replica("192.0.2.1", "True"), replica("192.0.2.2", "True")}, answers{"192.0.2.1": two}, -1},
		"one talks trash": {[]corev1.Pod{replica("192.0.2.1", "True")}, answers{"192.0.2.1": "<html>"}, -1},
		"one is ending":   {[]corev1.Pod{replica("192.0.2.1", "True"), replica("192.0.2.9", "False")}, answers{"192.0.2.1": two}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			got := Debug{Client: &http.Client{Transport: c.answers}}.Connected(t.Context(), c.pods)
			if c.want < 0 && got != nil || c.want >= 0 && (got == nil || *got != c.want) {
				t.Errorf("got %v, want %d", got, c.want)
			}
		})
	}
}
