// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestLargeBounds: however many and large LimitRanges and ResourceQuotas a tenant creates, little is read of them for
// an injection, and the first ones count.
func TestLargeBounds(t *testing.T) {
	var sent atomic.Int64
	sizes := map[string]struct{ n, bytes int }{"few": {3, 10}, "large": {400, 1 << 20}, "many": {5000, 500}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		path := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/v1/"), "/")
		switch r.URL.Path {
		case "/api":
			fmt.Fprint(w, `{"kind": "APIVersions", "versions": ["v1"]}`)
			return
		case "/apis":
			fmt.Fprint(w, `{"kind": "APIGroupList", "apiVersion": "v1"}`)
			return
		case "/api/v1":
			fmt.Fprint(w, `{"kind": "APIResourceList", "groupVersion": "v1", "resources": [
				{"namespaced": true, "verbs": ["list"], "name": "limitranges", "kind": "LimitRange"},
				{"namespaced": true, "verbs": ["list"], "name": "resourcequotas", "kind": "ResourceQuota"}]}`)
			return
		}
		size := sizes[path[1]]
		from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		to := size.n
		if limit, err := strconv.Atoi(r.URL.Query().Get("limit")); err == nil {
			to = min(size.n, from+limit)
		}
		list := map[string]any{"apiVersion": "v1", "kind": map[string]string{"limitranges": "LimitRangeList", "resourcequotas": "ResourceQuotaList"}[path[2]]}
		var items []any
		for i := from; i < to; i++ {
			items = append(items, map[string]any{"metadata": map[string]any{"namespace": path[1], "name": fmt.Sprint("o", i), "annotations": map[string]string{"x": strings.Repeat("x", size.bytes)}}})
		}
		list["items"], list["metadata"] = items, map[string]any{}
		if to < size.n {
			list["metadata"] = map[string]any{"continue": strconv.Itoa(to)}
		}
		body, err := json.Marshal(list)
		if err != nil {
			t.Error(err)
		}
		n, _ := w.Write(body) // the client may have read enough
		sent.Add(int64(n))
	}))
	t.Cleanup(server.Close)
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	reader, _, err := strangersClients(&rest.Config{Host: server.URL}, scheme)
	if err != nil {
		t.Fatal(err)
	}
	for namespace, c := range map[string]struct{ least, most int }{"few": {3, 3}, "large": {0, 0}, "many": {50, 500}} {
		var ranges corev1.LimitRangeList
		var quotas corev1.ResourceQuotaList
		for _, l := range []client.ObjectList{&ranges, &quotas} {
			sent.Store(0)
			if err := reader.List(t.Context(), l, client.InNamespace(namespace)); err != nil {
				t.Fatal(err)
			}
			if n := sent.Load() >> 20; n > 40 {
				t.Errorf("%s: %d MiB were read", namespace, n)
			}
		}
		for _, n := range []int{len(ranges.Items), len(quotas.Items)} {
			if n < c.least || n > c.most {
				t.Errorf("%s: %d are kept", namespace, n)
			}
		}
		if len(ranges.Items) > 0 && (ranges.Items[0].Name != "o0" || ranges.Items[0].Annotations != nil) {
			t.Errorf("%s: the first one is %.300v", namespace, ranges.Items[0])
		}
	}
}
