// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/controlplane/model"
)

// largeObjects answers for the objects of one path: there are n, each with the same large contents. Like an API server,
// it sends pages only of what is not from its cache (resource version 0).
type largeObjects struct {
	path, version, kind string
	n                   int
	contents            string // fields of the object after metadata, in JSON
	metadata            string // fields of the metadata, in JSON
	streams             bool   // lists are streamed
}

func (l largeObjects) object(i int, typed bool) string {
	kind := ""
	if typed {
		kind = fmt.Sprintf(`"apiVersion": %q, "kind": %q, `, l.version, l.kind)
	}
	return fmt.Sprintf(`{%s"metadata": {"namespace": "evil", "name": "o%03d", "resourceVersion": "1"%s}%s}`, kind, i, l.metadata, l.contents)
}

func (l largeObjects) answer(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != l.path {
		return false
	}
	q := r.URL.Query()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case q.Get("sendInitialEvents") != "" && !l.streams:
		w.WriteHeader(http.StatusUnprocessableEntity)
	case q.Get("watch") != "":
		if q.Get("sendInitialEvents") != "" {
			for i := range l.n {
				fmt.Fprintf(w, `{"type": "ADDED", "object": %s}`, l.object(i, true))
			}
			fmt.Fprintf(w, `{"type": "BOOKMARK", "object": {"apiVersion": %q, "kind": %q, "metadata": {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}}}`, l.version, l.kind)
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	default:
		from, limit, more := 0, l.n, ""
		if q.Get("resourceVersion") == "" {
			from, _ = strconv.Atoi(q.Get("continue"))
			limit, _ = strconv.Atoi(q.Get("limit"))
		}
		to := min(l.n, from+limit)
		if to < l.n {
			more = strconv.Itoa(to)
		}
		fmt.Fprintf(w, `{"apiVersion": %q, "kind": "%sList", "metadata": {"resourceVersion": "1", "continue": %q}, "items": [`, l.version, l.kind, more)
		for i := from; i < to; i++ {
			if i > from {
				fmt.Fprint(w, ",")
			}
			fmt.Fprint(w, l.object(i, false))
		}
		fmt.Fprint(w, "]}")
	}
	return true
}

// mostLive calls wait, and returns how much more memory than before was in use at a time.
func mostLive(wait func()) (mib int) {
	live := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc >> 20)
	}
	before, stop, most := live(), make(chan struct{}), make(chan int)
	go func() {
		found, look := 0, time.NewTicker(20*time.Millisecond)
		defer look.Stop()
		for {
			select {
			case <-stop:
				most <- found
				return
			case <-look.C:
				found = max(found, live())
			}
		}
	}()
	wait()
	close(stop)
	return <-most - before
}

// largePods are pods that no node takes: anyone with the right to create pods in one namespace can create them.
func largePods(streams bool) largeObjects {
	return largeObjects{
		path: "/api/v1/pods", version: "v1", kind: "Pod", n: 10, streams: streams,
		contents: `, "spec": {"containers": [{"name": "c", "args": [` + strings.Repeat(`"",`, 699_999) + `""]}]}`,
	}
}

// TestLargePods: a tenant's large pods take little memory while they are read, however the API server sends them. The
// pods have 700,000 empty arguments: 1.4 MB in etcd and 11 MB in memory. Their
// contents were held until the last one was read, and 80 ended each replica that started.
func TestLargePods(t *testing.T) {
	for name, streams := range map[string]bool{"streamed": true, "in pages": false} {
		t.Run(name, func(t *testing.T) {
			pods := largePods(streams)
			var c *consumer
			used := mostLive(func() {
				_, _, c = start(t, func(s *apiServer) {
					fill(s)
					s.instead = pods.answer
				})
				c.until(t, "the first batch", func(now map[place]any, _ [][]Event) bool { return len(now) > 0 })
			})
			for i := range pods.n {
				if _, there := c.now[place{Pod, model.Key{Namespace: "evil", Name: fmt.Sprintf("o%03d", i)}}]; !there {
					t.Errorf("pod %d is not in the first batch", i)
				}
			}
			t.Logf("%d MiB for %d pods", used, pods.n)
			if used > 90 {
				t.Errorf("%d pods take %d MiB while they are read", pods.n, used)
			}
		})
	}
}

// TestLargeMetadata: neither does the metadata of ConfigMaps to which nothing refers.
func TestLargeMetadata(t *testing.T) {
	maps := largeObjects{
		path: "/api/v1/configmaps", version: "meta.k8s.io/v1", kind: "PartialObjectMetadata", n: 60,
		metadata: `, "labels": {"x": "` + strings.Repeat("x", 1<<20) + `"}`,
	}
	n := newNotified(model.Key{Namespace: "evil", Name: "o007"})
	used := mostLive(func() {
		watching(t, n, func(s *apiServer) {
			fill(s)
			s.instead = maps.answer
		})
		n.until(t, "the ConfigMaps listed", func() bool { return len(n.versions) == 1 })
	})
	t.Logf("%d MiB for %d ConfigMaps", used, maps.n)
	if used > 90 {
		t.Errorf("the metadata of %d ConfigMaps takes %d MiB while it is read", maps.n, used)
	}
}

// TestFeedsKeepLittle: of whatever kind, objects are converted as they are read, and what is kept of them has no metadata that
// nothing reads. An object may have a megabyte of it.
func TestFeedsKeepLittle(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for _, f := range feeds() {
		o := f.object.DeepCopyObject().(client.Object)
		o.SetNamespace("evil")
		o.SetName("o")
		o.SetAnnotations(map[string]string{"x": long})
		o.SetOwnerReferences([]metav1.OwnerReference{{Name: long}})
		o.SetFinalizers([]string{long})
		o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: long}})
		if f.kind != Namespace { // Gateways select namespaces by labels
			o.SetLabels(map[string]string{"x": long, "kubernetes.io/service-name": "s"})
		}
		var store cache.ReflectorStore = &shelf{feed: f}
		out, err := store.(cache.TransformingStore).Transformer()(o)
		if err != nil {
			t.Fatal(err)
		}
		c, ok := out.(*converted)
		if !ok || c.value == nil || c.key.Name != "o" {
			t.Errorf("%s: a reflector holds %T", f.kind, out)
			continue
		}
		kept, err := json.Marshal(c.value)
		if err != nil {
			t.Fatal(err)
		}
		if len(kept) > 1000 {
			t.Errorf("%s: %d bytes of an object are kept", f.kind, len(kept))
		}
	}
}
