// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pages

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// server serves pods in pages, as an API server does: pod i has the size sizes[i]. asked gets the limit of each request.
func server(t *testing.T, sizes []int, asked func(int)) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		asked(limit)
		var l corev1.PodList
		l.Kind, l.APIVersion = "PodList", "v1"
		for i := from; i < len(sizes) && (limit == 0 || i < from+limit); i++ {
			p := corev1.Pod{}
			p.Name = fmt.Sprint("pod-", i)
			p.Spec.Containers = []corev1.Container{{Name: "a", Env: []corev1.EnvVar{{Name: "X", Value: strings.Repeat("x", sizes[i])}}}}
			l.Items = append(l.Items, p)
		}
		if end := from + len(l.Items); end < len(sizes) {
			l.Continue = strconv.Itoa(end)
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(l); err != nil {
			return // the client has ended the answer
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// reader is a client of the server, with the transport of this package or without.
func reader(t *testing.T, url string, wrap bool) client.Reader {
	m := meta.NewDefaultRESTMapper(nil)
	m.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	h := &http.Client{}
	if wrap {
		h.Transport = Transport(http.DefaultTransport)
	}
	c, err := client.New(&rest.Config{Host: url, QPS: -1}, client.Options{Scheme: scheme.Scheme, Mapper: m, HTTPClient: h})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func podList() *corev1.PodList { return &corev1.PodList{} }

// TestEach reads every object once, whatever their sizes, and no page is larger than it may be. An attacker chooses
// the names and so the order of objects: small ones first.
func TestEach(t *testing.T) {
	sizes := map[string][]int{"none": nil, "one": {10}, "one large": {1 << 20}}
	for i := range 1700 {
		sizes["small"] = append(sizes["small"], 100)
		if i < 300 {
			sizes["small ones, then large ones"] = append(sizes["small ones, then large ones"], 100)
		}
	}
	for range 40 {
		sizes["large"] = append(sizes["large"], 1<<20)
		sizes["small ones, then large ones"] = append(sizes["small ones, then large ones"], 1500<<10)
	}
	for name, sizes := range sizes {
		t.Run(name, func(t *testing.T) {
			requests := 0
			r := reader(t, server(t, sizes, func(limit int) {
				requests++
				if limit < 1 || limit > most {
					t.Errorf("limit %d", limit)
				}
			}), true)
			var want, got []string
			for i := range sizes {
				want = append(want, fmt.Sprint("pod-", i))
			}
			err := Each(t.Context(), r, podList, func(l *corev1.PodList) error {
				bytes := 0
				for _, p := range l.Items {
					got = append(got, p.Name)
					bytes += len(p.Spec.Containers[0].Env[0].Value)
				}
				if bytes > MaxBytes && len(l.Items) > 1 {
					t.Errorf("a page of %d objects has %d bytes", len(l.Items), bytes)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if name == "small" && requests > 6 {
				t.Errorf("%d requests for %d small objects", requests, len(sizes))
			}
		})
	}
}

// TestTooLarge: a single object that is larger than any API server accepts is an error, not an endless loop.
func TestTooLarge(t *testing.T) {
	r := reader(t, server(t, []int{10, maxOne + 1}, func(int) {}), true)
	if err := Each(t.Context(), r, podList, func(*corev1.PodList) error { return nil }); err == nil || !strings.Contains(err.Error(), errTooLarge.Error()) {
		t.Error(err)
	}
}

// TestErrors: an error of the caller ends it.
func TestErrors(t *testing.T) {
	r := reader(t, server(t, []int{10}, func(int) {}), true)
	if err := Each(t.Context(), r, podList, func(*corev1.PodList) error { return os.ErrClosed }); err != os.ErrClosed { //nolint:errorlint // exactly this
		t.Error(err)
	}
}

// TestMemory: a tenant's 150 pods of 1 MB each take little memory, in a process of its own. A list without pages
// takes more than the operator's limit, which shows that the test measures the attack.
func TestMemory(t *testing.T) {
	if url := os.Getenv("TEST_PAGES_URL"); url != "" {
		n := 0
		use := func(l *corev1.PodList) error { n += len(l.Items); return nil }
		var err error
		if os.Getenv("TEST_PAGES_WHOLE") == "" {
			err = Each(t.Context(), reader(t, url, true), podList, use)
		} else {
			l := podList()
			err = reader(t, url, false).List(t.Context(), l)
			_ = use(l)
		}
		if err != nil {
			t.Fatal(err)
		}
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, peak, _ := strings.Cut(string(status), "VmHWM:")
		kib, err := strconv.Atoi(strings.Fields(peak)[0])
		fmt.Printf("read %d pods with %d MiB, %v\n", n, kib>>10, err)
		return
	}
	sizes := make([]int, 150)
	for i := range sizes {
		sizes[i] = 1000 << 10
	}
	url := server(t, sizes, func(int) {})
	mib := func(whole string) (n int) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestMemory$") //nolint:gosec // this test
		cmd.Env = append(os.Environ(), "TEST_PAGES_URL="+url, "TEST_PAGES_WHOLE="+whole, "GOMEMLIMIT=230MiB")
		out, err := cmd.CombinedOutput()
		if _, scan := fmt.Sscanf(string(out), "read 150 pods with %d MiB", &n); err != nil || scan != nil {
			t.Fatalf("%v, %v: %s", err, scan, out)
		}
		return n
	}
	in, whole := mib(""), mib("yes")
	t.Logf("%d MiB in pages, %d MiB without", in, whole)
	if in > 128 {
		t.Errorf("pages of pods take %d MiB", in)
	}
	if whole < 256 {
		t.Errorf("a list without pages takes %d MiB only: the test measures nothing", whole)
	}
}
