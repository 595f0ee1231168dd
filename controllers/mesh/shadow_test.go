// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/lifecycle/debug"
)

// tells plays replicas: what each address tells of its translation, one answer after the other, the
// last of them again and again.
type tells struct {
	mu      sync.Mutex
	answers map[string][]string // guarded by mu
}

func (a *tells) Get(_ context.Context, pod *corev1.Pod, path string, _ url.Values) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ip := pod.Status.PodIP
	list := a.answers[ip]
	if len(list) == 0 || path != "/debug/translation" {
		return nil, &debug.StatusError{Code: http.StatusNotFound}
	}
	if len(list) > 1 {
		a.answers[ip] = list[1:]
	}
	return []byte(list[0]), nil
}

// TestDifference: one ready replica of each is asked, a difference that does not last is not told, and
// what can't be asked is not taken for a difference.
func TestDifference(t *testing.T) {
	world := func(synced bool, a, b string) string {
		return fmt.Sprintf(`{"version":"x","synced":%v,"resources":{"envoy.Cluster":{"a":%q,"b":%q}},"later":{"field":1}}`, synced, a, b)
	}
	one, two := []corev1.Pod{replica("192.0.2.1", "True")}, []corev1.Pod{replica("192.0.2.9", "False"), replica("192.0.2.2", "True")}
	for name, c := range map[string]struct {
		before, after []corev1.Pod
		told          []string // by the first, then by the second
		toldToo       []string
		want          string // empty: no answer; error: an error with that text
	}{
		"the same":               {one, two, []string{world(true, "1", "1")}, []string{world(true, "1", "1")}, "nothing changes; nothing new is rejected"},
		"one differs":            {one, two, []string{world(true, "1", "1")}, []string{world(true, "2", "1")}, "1 of 2 clusters changes; nothing new is rejected"},
		"one differs for a time": {one, two, []string{world(true, "1", "1"), world(true, "2", "1")}, []string{world(true, "2", "2"), world(true, "2", "2")}, "1 of 2 clusters changes; nothing new is rejected"},
		"none ready":             {one, []corev1.Pod{replica("192.0.2.2", "False")}, []string{world(true, "1", "1")}, []string{world(true, "1", "1")}, ""},
		"no old one":             {nil, two, nil, []string{world(true, "1", "1")}, ""},
		"not synced yet":         {one, two, []string{world(true, "1", "1")}, []string{world(false, "1", "1")}, "error: not read the whole cluster"},
		"an older release":       {one, two, nil, []string{world(true, "1", "1")}, "error: 404"},
		"not JSON":               {one, two, []string{"<html>"}, []string{world(true, "1", "1")}, "error: read what Pod  answers to /debug/translation"},
	} {
		t.Run(name, func(t *testing.T) {
			d := Debug{Ask: &tells{answers: map[string][]string{"192.0.2.1": c.told, "192.0.2.2": c.toldToo}}}
			got, err := d.Difference(t.Context(), c.before, c.after)
			text, wantErr := strings.CutPrefix(c.want, "error: ")
			switch {
			case wantErr:
				if err == nil || !strings.Contains(err.Error(), text) || got != nil {
					t.Errorf("%v, %v", got, err)
				}
			case err != nil:
				t.Error(err)
			case c.want == "":
				if got != nil {
					t.Errorf("told %s", got.Summary())
				}
			case got == nil || got.Summary() != c.want:
				t.Errorf("%+v, want %s", got, c.want)
			}
		})
	}
}
