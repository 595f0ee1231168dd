// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controllers

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"tulle.dev/tulle/controllers/kinds"
)

// tenants are the kinds in the operator's caches whose objects tenants write, others those that they do not.
var (
	tenants = []string{
		"BackendTLSPolicy", "ConfigMap", "Deployment", "Gateway", "HorizontalPodAutoscaler", "ListenerSet", "Pod", "PodDisruptionBudget",
		"Service", "ServiceAccount",
	}
	others = []string{
		"Certificate", "ClusterIssuer", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "DaemonSet", "GatewayClass",
		"Issuer", "Mesh", "MutatingWebhookConfiguration", "Namespace", "Role", "RoleBinding", "Secret", "XMesh",
	}
)

const (
	largeObjects = 15
	largeBytes   = 1 << 20
)

// cluster answers as an API server does where a tenant has large objects of every kind, as many as largeObjects.
type cluster struct {
	t       *testing.T
	streams bool
	large   string // the finalizers of an object
	all     chan struct{}

	mu     sync.Mutex
	unread []string // kinds that the operator has not read all of
}

func newCluster(t *testing.T, streams bool) *cluster {
	const one = `"a/b",`
	return &cluster{
		t: t, streams: streams, all: make(chan struct{}), unread: slices.Concat(tenants, others),
		large: strings.TrimSuffix(strings.Repeat(one, largeBytes/len(one)), ","),
	}
}

func (c *cluster) read(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.unread, kind); i >= 0 {
		c.unread = slices.Delete(c.unread, i, i+1)
		if len(c.unread) == 0 {
			close(c.all)
		}
	}
}

// objects are how many there are of a kind, and the metadata of one of them.
func (c *cluster) objects(kind string) (n int, metadata func(int) string) {
	switch {
	case slices.Contains(tenants, kind):
		return largeObjects, func(i int) string {
			return fmt.Sprintf(`{"namespace": "evil", "name": "o%03d", "resourceVersion": "1", "finalizers": [%s]}`, i, c.large)
		}
	case kind == "CustomResourceDefinition":
		list := slices.Concat(kinds.CertManager(), kinds.GatewayAPI(), kinds.ListenerSet(), kinds.BackendTLSPolicy(), kinds.XMesh())
		return len(list), func(i int) string {
			return fmt.Sprintf(`{"name": "%s.%s", "resourceVersion": "1"}`, list[i].Plural, list[i].Group)
		}
	}
	return 0, nil
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	resource, q := path.Base(r.URL.Path), r.URL.Query()
	if resource == "read" {
		select {
		case <-c.all:
		case <-r.Context().Done():
		}
		return
	}
	all := slices.Concat(tenants, others)
	i := slices.IndexFunc(all, func(kind string) bool { return strings.EqualFold(kind, resource) })
	if i < 0 || r.Method != http.MethodGet {
		if q.Has("watch") || q.Has("limit") {
			c.t.Errorf("the operator reads objects that this test does not know: %s", r.URL)
		}
		w.WriteHeader(http.StatusNotFound)
		return
	}
	kind := all[i]
	if q.Get("sendInitialEvents") != "" && !c.streams {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	n, metadata := c.objects(kind)
	if q.Get("watch") != "" {
		what := typeOf(r, kind, "")
		if q.Get("sendInitialEvents") != "" {
			for i := range n {
				fmt.Fprintf(w, `{"type": "ADDED", "object": {%s, "metadata": %s}}`, what, metadata(i))
			}
			fmt.Fprintf(w, `{"type": "BOOKMARK", "object": {%s, "metadata": {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}}}`, what)
		}
		w.(http.Flusher).Flush()
		c.read(kind)
		<-r.Context().Done()
		return
	}
	// An API server sends pages only of what is not from its cache (resource version 0).
	limit, _ := strconv.Atoi(q.Get("limit"))
	from, _ := strconv.Atoi(q.Get("continue"))
	if limit == 0 || q.Get("resourceVersion") != "" {
		c.t.Errorf("%s is listed without pages: %s", kind, r.URL)
		limit = n
	}
	to, token := min(n, from+limit), ""
	if to < n {
		token = strconv.Itoa(to)
	}
	fmt.Fprintf(w, `{%s, "metadata": {"resourceVersion": "1", "continue": %q}, "items": [`, typeOf(r, kind, "List"), token)
	for i := from; i < to; i++ {
		if i > from {
			fmt.Fprint(w, ",")
		}
		if _, err := fmt.Fprintf(w, `{"metadata": %s}`, metadata(i)); err != nil {
			return // the client has ended the answer
		}
	}
	fmt.Fprint(w, "]}")
}

// typeOf returns apiVersion and kind of the answer to a request.
func typeOf(r *http.Request, kind, suffix string) string {
	version := strings.TrimPrefix(path.Dir(r.URL.Path), "/apis/")
	if strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadata") {
		version, kind = "meta.k8s.io/v1", "PartialObjectMetadata"
	}
	return fmt.Sprintf(`"apiVersion": %q, "kind": %q`, version, kind+suffix)
}

// readAll runs the operator until it has read all that is in its caches, and prints how much memory it took.
func readAll(t *testing.T, url string) {
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, nil)))
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	add := func(gvk schema.GroupVersionKind) { // cluster finds a kind by its name
		r := gvk.GroupVersion().WithResource(strings.ToLower(gvk.Kind))
		mapper.AddSpecific(gvk, r, r, meta.RESTScopeNamespace)
	}
	for gvk := range scheme.AllKnownTypes() {
		add(gvk)
	}
	add(kinds.Definition().GroupVersionKind())
	mgr, err := NewManager(&rest.Config{Host: url, QPS: -1}, "tulle-system", ctrl.Options{
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return mapper, nil },
		Metrics:        metricsserver.Options{BindAddress: "0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := Setup(mgr, Options{Namespace: "tulle-system", Image: "tulle.test/tulle:1", ProxyImage: "tulle.test/proxy:1"}); err != nil {
		t.Fatal(err)
	}
	go func() {
		if err := mgr.Start(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/read", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.Atoi(strings.Fields(peak)[0])
	fmt.Printf("\nread with %d MiB, %v\n", kib>>10, err)
}

// TestLargeObjects: an operator starts within its memory where a tenant has large objects of each kind in its caches,
// in a process of its own. It lists them all in pages if the API server does not stream lists.
func TestLargeObjects(t *testing.T) {
	if url := os.Getenv("TEST_LISTS_URL"); url != "" {
		readAll(t, url)
		return
	}
	for name, streams := range map[string]bool{"streamed": true, "in pages": false} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, streams)
			s := httptest.NewServer(c)
			t.Cleanup(s.Close)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], "-test.run", "^TestLargeObjects$") //nolint:gosec // this test
			cmd.Env = append(os.Environ(), "TEST_LISTS_URL="+s.URL, "GOMEMLIMIT=230MiB")
			out, err := cmd.CombinedOutput()
			_, line, _ := strings.Cut(string(out), "\nread with ")
			mib := 0
			if _, scan := fmt.Sscanf(line, "%d MiB", &mib); err != nil || scan != nil {
				c.mu.Lock()
				defer c.mu.Unlock()
				t.Fatalf("%v, %v; not read: %v; %s", err, scan, c.unread, out)
			}
			t.Logf("%d MiB for %d objects of %d MiB of each kind", mib, largeObjects, largeBytes>>20)
			if mib > 240 {
				t.Errorf("the operator takes %d MiB", mib)
			}
		})
	}
}
