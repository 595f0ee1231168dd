// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// tells plays replicas: what each address tells of its translation, one answer after the other, the
// last of them again and again.
type tells struct {
	mu      sync.Mutex
	answers map[string][]string // guarded by mu
}

func (a *tells) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	resp := &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Request: r}
	list := a.answers[r.URL.Hostname()]
	if len(list) == 0 || r.URL.Port() != "15014" || r.URL.Path != "/debug/translation" {
		resp.StatusCode, resp.Status, resp.Body = http.StatusNotFound, "404 Not Found", http.NoBody
		return resp, nil
	}
	resp.Body = io.NopCloser(strings.NewReader(list[0]))
	if len(list) > 1 {
		a.answers[r.URL.Hostname()] = list[1:]
	}
	return resp, nil
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
		"not JSON":               {one, two, []string{"<html>"}, []string{world(true, "1", "1")}, "error: read the answer of http://192.0.2.1:15014/debug/translation"},
	} {
		t.Run(name, func(t *testing.T) {
			d := Debug{Client: &http.Client{Transport: &tells{answers: map[string][]string{"192.0.2.1": c.told, "192.0.2.2": c.toldToo}}}}
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
