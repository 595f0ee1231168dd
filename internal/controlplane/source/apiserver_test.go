// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// apiServer speaks as much of the Kubernetes API as reading needs: discovery, list and watch.
type apiServer struct {
	t *testing.T

	mu       sync.Mutex
	version  int
	groups   map[string][]resource // by "v1" or "group/version"
	hidden   map[string]bool       // groups that discovery does not show
	objects  map[string]map[string]any
	watchers map[string][]chan map[string]any
	past     map[string][]past // what a watch from an earlier version is told first
	oldest   int               // watches from before this version are refused
	asked    []string          // "GET /api/v1/pods?fieldSelector=..."
	broken   bool              // every list fails, and every new watch
	refused  string            // at this path nothing may be read
	// refusedReads is a path at which nothing may be read by name.
	refusedReads string
	largest      int // how many objects the largest answer had
	// instead, if set before anything is asked, answers a request and returns true, or returns false.
	instead func(http.ResponseWriter, *http.Request) bool
}

// Of these nothing but the metadata may be listed or watched.
const (
	nodes      = "v1/nodes"
	secrets    = "v1/secrets"
	configMaps = "v1/configmaps"
)

func byMetadata(at string) bool { return at == nodes || at == secrets || at == configMaps }

type past struct {
	version int
	event   map[string]any
}

type resource struct {
	name, kind string
	namespaced bool
}

func newAPIServer(t *testing.T) (*apiServer, *rest.Config) {
	t.Helper()
	s := &apiServer{t: t, version: 1, hidden: map[string]bool{}, objects: map[string]map[string]any{}, watchers: map[string][]chan map[string]any{}, past: map[string][]past{}}
	s.groups = map[string][]resource{
		"v1":                      {{"namespaces", "Namespace", false}, {"services", "Service", true}, {"pods", "Pod", true}, {"secrets", "Secret", true}, {"configmaps", "ConfigMap", true}, {"nodes", "Node", false}},
		"discovery.k8s.io/v1":     {{"endpointslices", "EndpointSlice", true}},
		"apiextensions.k8s.io/v1": {{"customresourcedefinitions", "CustomResourceDefinition", false}},
	}
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return s, &rest.Config{Host: server.URL}
}

// install adds custom resources with their CRDs.
func (s *apiServer) install(group, version string, rs ...resource) {
	s.mu.Lock()
	s.groups[group+"/"+version] = append(s.groups[group+"/"+version], rs...)
	s.mu.Unlock()
	for _, r := range rs {
		s.put("apiextensions.k8s.io/v1/customresourcedefinitions", `{metadata: {name: `+r.name+`.`+group+`}, spec: {versions: [{name: `+version+`, served: true}]}}`)
	}
}

func (s *apiServer) hide(group string, hidden bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden[group] = hidden
}

func (s *apiServer) outage(broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = broken
}

func (s *apiServer) refuse(at string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = at
}

// put creates or updates an object at "v1/pods", "group/version/resource".
func (s *apiServer) put(at, object string) {
	s.t.Helper()
	var o map[string]any
	if err := yaml.Unmarshal([]byte(object), &o); err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	meta := o["metadata"].(map[string]any)
	meta["resourceVersion"] = strconv.Itoa(s.version)
	name := id(meta)
	if s.objects[at] == nil {
		s.objects[at] = map[string]any{}
	}
	kind := "ADDED"
	if s.objects[at][name] != nil {
		kind = "MODIFIED"
	}
	s.objects[at][name] = o
	s.tell(at, kind, o)
}

func (s *apiServer) remove(at, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	o := s.objects[at][name].(map[string]any)
	o["metadata"].(map[string]any)["resourceVersion"] = strconv.Itoa(s.version)
	delete(s.objects[at], name)
	s.tell(at, "DELETED", o)
}

func id(meta map[string]any) string {
	ns, _ := meta["namespace"].(string)
	name, _ := meta["name"].(string)
	return strings.TrimPrefix(ns+"/"+name, "/")
}

func (s *apiServer) tell(at, kind string, o any) {
	e := map[string]any{"type": kind, "object": s.typed(at, o)}
	s.past[at] = append(s.past[at], past{s.version, e})
	for _, w := range s.watchers[at] {
		w <- e
	}
}

func (s *apiServer) typed(at string, o any) map[string]any {
	out := map[string]any{}
	for k, v := range o.(map[string]any) {
		out[k] = v
	}
	out["apiVersion"], out["kind"] = at[:strings.LastIndex(at, "/")], s.kind(at)
	if byMetadata(at) {
		return map[string]any{"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": out["metadata"]}
	}
	return out
}

// whole answers a request for one Secret or ConfigMap by name.
func (s *apiServer) whole(w http.ResponseWriter, parts []string) {
	at, name := parts[0]+"/"+parts[3], parts[2]+"/"+parts[4]
	o, ok := s.objects[at][name].(map[string]any)
	switch {
	case s.broken:
		s.failure(w, 503, "ServiceUnavailable")
	case s.refused == at || s.refusedReads == at:
		s.failure(w, 403, "Forbidden")
	case !ok:
		s.failure(w, 404, "NotFound")
	default:
		out := map[string]any{}
		for k, v := range o {
			out[k] = v
		}
		out["apiVersion"], out["kind"] = parts[0], s.kind(at)
		s.reply(w, 200, out)
	}
}

func (s *apiServer) kind(at string) string {
	i := strings.LastIndex(at, "/")
	for _, r := range s.groups[at[:i]] {
		if r.name == at[i+1:] {
			return r.kind
		}
	}
	return ""
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.instead != nil && s.instead(w, r) {
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/apis/")
	if !ok {
		path = strings.TrimPrefix(r.URL.Path, "/api/")
	}
	parts := strings.Split(path, "/")
	s.mu.Lock()
	s.asked = append(s.asked, r.URL.RequestURI())
	switch {
	case r.URL.Path == "/api":
		s.reply(w, 200, map[string]any{"kind": "APIVersions", "versions": []string{"v1"}})
	case r.URL.Path == "/apis":
		s.reply(w, 200, s.discoverGroups())
	case len(parts) == 1 || len(parts) == 2 && strings.Contains(parts[0], "."):
		s.reply(w, 200, s.discoverResources(w, path))
	case byMetadata(path) && !strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadata"):
		s.failure(w, 406, "NotAcceptable") // large, or somebody else's: only their metadata may be asked for here
	case len(parts) == 5 && parts[1] == "namespaces":
		s.whole(w, parts)
	case path == s.refused:
		s.failure(w, 403, "Forbidden")
	case r.URL.Query().Get("watch") != "":
		s.watch(w, r, path)
		return
	default:
		s.get(w, r, path)
	}
	s.mu.Unlock()
}

func (s *apiServer) reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.t.Logf("reply: %v", err)
	}
}

func (s *apiServer) failure(w http.ResponseWriter, status int, reason string) {
	s.reply(w, status, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": status})
}

func (s *apiServer) discoverGroups() map[string]any {
	var groups []any
	for gv := range s.groups {
		group, version, ok := strings.Cut(gv, "/")
		if !ok || s.hidden[group] {
			continue
		}
		v := map[string]string{"groupVersion": gv, "version": version}
		groups = append(groups, map[string]any{"name": group, "versions": []any{v}, "preferredVersion": v})
	}
	return map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
}

func (s *apiServer) discoverResources(_ http.ResponseWriter, gv string) map[string]any {
	var list []any
	group, _, _ := strings.Cut(gv, "/")
	if !s.hidden[group] {
		for _, r := range s.groups[gv] {
			list = append(list, map[string]any{"name": r.name, "singularName": strings.ToLower(r.kind), "kind": r.kind, "namespaced": r.namespaced, "verbs": []string{"get", "list", "watch"}})
		}
	}
	return map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": gv, "resources": list}
}

func (s *apiServer) known(at string) bool {
	i := strings.LastIndex(at, "/")
	group, _, _ := strings.Cut(at, "/")
	return !s.hidden[group] && slices.ContainsFunc(s.groups[at[:i]], func(r resource) bool { return r.name == at[i+1:] })
}

func (s *apiServer) get(w http.ResponseWriter, r *http.Request, at string) {
	if s.known(at) {
		if s.broken {
			s.failure(w, 503, "ServiceUnavailable")
			return
		}
		items, meta := s.page(r, at)
		kind, version := s.kind(at)+"List", at[:strings.LastIndex(at, "/")]
		if byMetadata(at) {
			kind, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
		}
		s.reply(w, 200, map[string]any{"kind": kind, "apiVersion": version, "metadata": meta, "items": items})
		return
	}
	i := strings.LastIndex(at, "/")
	if o, ok := s.objects[at[:i]][at[i+1:]]; ok {
		s.reply(w, 200, s.typed(at[:i], o))
		return
	}
	s.failure(w, 404, "NotFound")
}

// page is what a list answers: everything, or a page if it is asked for one and not from a cache.
func (s *apiServer) page(r *http.Request, at string) (items []any, meta map[string]any) {
	items, meta = []any{}, map[string]any{"resourceVersion": strconv.Itoa(s.version)}
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	paged := err == nil && limit > 0 && r.URL.Query().Get("resourceVersion") == ""
	for _, name := range slices.Sorted(maps.Keys(s.objects[at])) {
		if paged && name <= r.URL.Query().Get("continue") {
			continue
		}
		if paged && len(items) == limit {
			meta["continue"] = s.lastName(items)
			break
		}
		items = append(items, s.typed(at, s.objects[at][name]))
	}
	s.largest = max(s.largest, len(items))
	return items, meta
}

func (s *apiServer) lastName(items []any) string {
	return id(items[len(items)-1].(map[string]any)["metadata"].(map[string]any))
}

// watch is called with the lock held and lets it go.
func (s *apiServer) watch(w http.ResponseWriter, r *http.Request, at string) {
	switch {
	case !s.known(at):
		s.failure(w, 404, "NotFound")
	case s.broken:
		s.failure(w, 503, "ServiceUnavailable")
	case r.URL.Query().Get("sendInitialEvents") != "": // an API server without that feature
		s.failure(w, 422, "Invalid")
	case from(r) < s.oldest:
		s.failure(w, 410, "Expired")
	default:
		events := make(chan map[string]any, 1000)
		for _, p := range s.past[at] {
			if p.version > from(r) {
				events <- p.event
			}
		}
		s.watchers[at] = append(s.watchers[at], events)
		s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(200)
		flush := w.(http.Flusher)
		flush.Flush()
		for {
			select {
			case <-r.Context().Done():
				return
			case e, ok := <-events:
				if !ok {
					return
				}
				if err := json.NewEncoder(w).Encode(e); err != nil {
					return
				}
				flush.Flush()
			}
		}
	}
	s.mu.Unlock()
}

func from(r *http.Request) int {
	v, err := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	if err != nil {
		return 0
	}
	return v
}

// forget makes watches start anew from a list.
func (s *apiServer) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.oldest, s.past = s.version, map[string][]past{}
}

// cut ends all watches, as a restarted API server does.
func (s *apiServer) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ws := range s.watchers {
		for _, w := range ws {
			close(w)
		}
	}
	s.watchers = map[string][]chan map[string]any{}
}

// requests returns what was asked so far.
func (s *apiServer) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}
