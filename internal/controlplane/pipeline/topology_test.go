// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
)

// place is where a client of these tests is.
type place struct{ node, zone string }

// expected says which endpoints a client uses, from the text of the KEPs and of the API alone, for one
// client at a time:
//
//   - KEP-1669: ready endpoints; if there is none, those that serve and terminate.
//   - internalTrafficPolicy Local: the same among the endpoints of the client's node, and no hints count.
//   - KEP-3015: if every endpoint has a ForNodes hint, and at least one includes the client's node, those
//     that do.
//   - KEP-2433: otherwise, if every endpoint has a ForZones hint, and at least one includes the client's
//     zone, those that do.
//   - Otherwise all.
//
// Endpoints that are not ready do not count in any of this.
func expected(endpoints []model.SliceEndpoint, local bool, at place) []string {
	where := func(list []model.SliceEndpoint, is func(model.SliceEndpoint) bool) (out []model.SliceEndpoint) {
		for _, e := range list {
			if is(e) {
				out = append(out, e)
			}
		}
		return out
	}
	if local {
		endpoints = where(endpoints, func(e model.SliceEndpoint) bool { return e.Node == at.node })
	}
	use := where(endpoints, func(e model.SliceEndpoint) bool { return e.Ready })
	switch all := len(use); {
	case all == 0:
		use = where(endpoints, func(e model.SliceEndpoint) bool { return e.Serving && e.Terminating })
	case local:
	default:
		withNode := where(use, func(e model.SliceEndpoint) bool { return len(hints(e).Nodes) > 0 })
		myNode := where(use, func(e model.SliceEndpoint) bool { return at.node != "" && slices.Contains(hints(e).Nodes, at.node) })
		withZone := where(use, func(e model.SliceEndpoint) bool { return len(hints(e).Zones) > 0 })
		myZone := where(use, func(e model.SliceEndpoint) bool { return at.zone != "" && slices.Contains(hints(e).Zones, at.zone) })
		switch {
		case len(withNode) == all && len(myNode) > 0:
			use = myNode
		case len(withZone) == all && len(myZone) > 0:
			use = myZone
		}
	}
	var out []string
	for _, e := range use {
		out = append(out, e.Addr.String())
	}
	slices.Sort(out)
	return out
}

// hints are those of an endpoint; the zero Hints if it has none.
func hints(e model.SliceEndpoint) model.Hints {
	if e.Hints == nil {
		return model.Hints{}
	}
	return *e.Hints
}

// usedAt are the endpoints that a server gives to a client at a place.
func usedAt(t *testing.T, resources map[xds.Key]xds.Resource, name string, at place) []string {
	t.Helper()
	r, ok := resources[xds.Key{TypeURL: envoy.EndpointsType, Name: name}]
	if !ok {
		t.Fatalf("%s is not published", name)
	}
	body := r.Body
	for _, p := range slices.Backward(model.Places(false, at.node, at.zone)) {
		for _, v := range r.Variants {
			if v.Place == p.String() {
				body = v.Body
			}
		}
	}
	var a endpointv3.ClusterLoadAssignment
	if err := proto.Unmarshal(body, &a); err != nil {
		t.Fatal(err)
	}
	if a.GetClusterName() != name {
		t.Errorf("endpoints of %s are named %s", name, a.GetClusterName())
	}
	var out []string
	for _, l := range a.GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			out = append(out, e.GetEndpoint().GetAddress().GetSocketAddress().GetAddress())
		}
	}
	slices.Sort(out)
	return out
}

// topology is a graph with one Service, web, whose slices change.
type topology struct {
	t         *testing.T
	graph     *Graph
	resources map[xds.Key]xds.Resource
}

var webKey = model.Key{Namespace: "a", Name: "web"}

func newTopology(t *testing.T, change func(*model.Service)) *topology {
	w := &topology{t: t, resources: map[xds.Key]xds.Resource{}, graph: New(func(f incr.Failure) {
		t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem)
	})}
	svc := model.Service{Key: webKey, VIPs: []netip.Addr{netip.MustParseAddr("11.0.0.1")}, Ports: []model.ServicePort{{Name: "grpc", Port: 80, Protocol: model.GRPC, Declared: true}}}
	if change != nil {
		change(&svc)
	}
	events := []source.Event{
		{Kind: source.Namespace, Key: model.Key{Name: "a"}, Object: model.Namespace{Name: "a", Meshed: true}},
		{Kind: source.Service, Key: webKey, Object: svc},
	}
	for _, node := range []string{"n1", "n2", "n3"} { // clients
		k := model.Key{Namespace: "a", Name: "client-" + node}
		events = append(events, source.Event{Kind: source.Pod, Key: k, Object: model.Workload{Key: k, UID: node, Kind: names.KindSidecar, Node: node, ServiceAccount: "default"}})
	}
	inputs := testSettings()
	inputs.Asked = map[names.Target]bool{{Namespace: "a", Node: "n1", Host: "web.a:80"}: true}
	w.take(w.graph.Apply(events, inputs))
	return w
}

// take returns what was published.
func (w *topology) take(r Result) []xds.Key {
	var keys []xds.Key
	for _, c := range r.Resources {
		keys = append(keys, c.Resource.Key)
		if c.Remove {
			delete(w.resources, c.Resource.Key)
		} else {
			w.resources[c.Resource.Key] = c.Resource
		}
	}
	return keys
}

func (w *topology) apply(parts ...[]model.SliceEndpoint) []xds.Key {
	var events []source.Event
	for i, endpoints := range parts {
		k := model.Key{Namespace: "a", Name: fmt.Sprintf("web-%d", i)}
		events = append(events, source.Event{Kind: source.EndpointSlice, Key: k, Object: model.Slice{
			Key: k, Service: webKey, Ports: []model.SlicePort{{Name: "grpc", Port: 8080}}, Endpoints: endpoints,
		}})
	}
	return w.take(w.graph.Apply(events, Inputs{}))
}

func randomEndpoints(rnd *rand.Rand, from int) []model.SliceEndpoint {
	pick := func(ss ...string) []string {
		var out []string
		for _, s := range ss {
			if rnd.IntN(2) == 0 {
				out = append(out, s)
			}
		}
		return out
	}
	// Mostly all endpoints have hints, or the rules would hardly ever come into play.
	without := rnd.IntN(3) == 0
	var out []model.SliceEndpoint
	for i := range rnd.IntN(5) {
		e := model.SliceEndpoint{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(from + i)}), Node: fmt.Sprintf("n%d", 1+rnd.IntN(3)), Zone: fmt.Sprintf("z%d", 1+rnd.IntN(3))}
		e.Ready = rnd.IntN(3) > 0
		e.Serving = e.Ready || rnd.IntN(2) == 0
		e.Terminating = !e.Ready && rnd.IntN(2) == 0
		h := &model.Hints{Zones: pick("z1", "z2", "z3"), Nodes: pick("n1", "n2")}
		if len(h.Zones) == 0 && !without {
			h.Zones = []string{e.Zone}
		}
		if len(h.Nodes) == 0 && !without {
			h.Nodes = []string{e.Node}
		}
		if rnd.IntN(8) == 0 {
			h.Nodes = nil
		}
		if len(h.Zones)+len(h.Nodes) > 0 {
			e.Hints = h
		}
		out = append(out, e)
	}
	return out
}

// TestTopology: whatever the endpoints, their hints and their history, every client uses the endpoints
// that kube-proxy would use on its node.
func TestTopology(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	reached := map[string]int{}
	for round := range 40 {
		local := round%4 == 3
		w := newTopology(t, func(s *model.Service) { s.LocalTraffic = local })
		parts := make([][]model.SliceEndpoint, 2)
		for range 25 {
			i := rnd.IntN(2)
			parts[i] = randomEndpoints(rnd, 100*i)
			w.apply(parts...)
			all := slices.Concat(parts...)
			for _, node := range []string{"n1", "n2", "n3"} {
				for _, zone := range []string{"", "z1", "z2", "z3", "z4"} {
					at := place{node, zone}
					want := expected(all, local, at)
					named := []string{"out/a/web/80", "client/a/web/80"}
					if local {
						named = []string{"out/a/web/80/node/" + node}
					}
					for _, name := range named {
						if d := cmp.Diff(want, usedAt(t, w.resources, name, at), cmpopts.EquateEmpty()); d != "" {
							t.Fatalf("%s at %+v of %+v (-want +got):\n%s", name, at, all, d)
						}
					}
					if r := w.resources[xds.Key{TypeURL: envoy.EndpointsType, Name: "out/a/web/80"}]; !local {
						reached[fmt.Sprint(len(r.Variants) > 0, len(want) < len(expected(all, false, place{})))]++
					}
				}
			}
		}
	}
	if reached["true true"] < 100 || reached["false false"] < 100 || reached["true false"] < 100 {
		t.Errorf("the random endpoints do not reach every case: %v", reached)
	}
}

// TestTopologyWithLocalTraffic: the endpoints that are not for one node (for Gateways, say) follow no hints
// where internalTrafficPolicy is Local.
func TestTopologyWithLocalTraffic(t *testing.T) {
	w := newTopology(t, func(s *model.Service) { s.LocalTraffic = true })
	w.apply(zoned("z1", "z2"))
	if got := usedAt(t, w.resources, "out/a/web/80", place{"n1", "z1"}); len(got) != 2 {
		t.Errorf("endpoints %v, want both", got)
	}
}

// zoned is a ready endpoint in each zone, with a hint for it.
func zoned(zones ...string) []model.SliceEndpoint {
	var out []model.SliceEndpoint
	for i, z := range zones {
		out = append(out, model.SliceEndpoint{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)}), Node: fmt.Sprintf("n%d", 1+i), Zone: z, Ready: true, Serving: true, Hints: &model.Hints{Zones: []string{z}}})
	}
	return out
}

// TestTopologyChangesEndpointsAlone: hints that come, change and go publish endpoints again, and neither
// clusters, listeners, routes nor scopes; and a change costs as many functions with hints as without.
func TestTopologyChangesEndpointsAlone(t *testing.T) {
	w := newTopology(t, nil)
	plain := zoned("z1", "z2", "z3")
	for i := range plain {
		plain[i].Hints = nil
	}
	nodes := zoned("z1", "z2", "z3")
	for i := range nodes {
		nodes[i].Hints.Nodes = []string{nodes[i].Node}
	}
	unready := zoned("z1", "z2", "z3")
	unready[0].Ready = false
	w.apply(plain)
	less := slices.Clone(plain)
	less[2].Ready = false
	w.apply(less)
	want := w.graph.Evals() // of one endpoint that is no longer ready, without hints
	w.apply(plain)
	for _, step := range []struct {
		name      string
		endpoints []model.SliceEndpoint
		variants  int
	}{{"hints for zones", zoned("z1", "z2", "z3"), 3}, {"for nodes, too", nodes, 6}, {"one not ready", unready, 2}, {"none", plain, 0}} {
		keys := w.apply(step.endpoints)
		slices.SortFunc(keys, func(a, b xds.Key) int { return strings.Compare(a.Name, b.Name) })
		if d := cmp.Diff([]xds.Key{{TypeURL: envoy.EndpointsType, Name: "client/a/web/80"}, {TypeURL: envoy.EndpointsType, Name: "out/a/web/80"}}, keys); d != "" {
			t.Errorf("%s (-want +published):\n%s", step.name, d)
		}
		if d := cmp.Diff(want, w.graph.Evals()); d != "" {
			t.Errorf("%s (-functions without hints +with):\n%s", step.name, d)
		}
		for _, k := range keys {
			if n := len(w.resources[k].Variants); n != step.variants {
				t.Errorf("%s: %s has %d variants, want %d", step.name, k, n, step.variants)
			}
		}
	}
}

// TestTopologyVersions: the endpoints without hints have the version that they have where no hints exist
// at all, and a variant that of the same endpoints anywhere: what does not change for a client is not sent.
func TestTopologyVersions(t *testing.T) {
	w := newTopology(t, nil)
	key := xds.Key{TypeURL: envoy.EndpointsType, Name: "out/a/web/80"}
	plain := zoned("z1", "z1", "z2")
	for i := range plain {
		plain[i].Hints = nil
	}
	w.apply(plain)
	all := w.resources[key].Version
	w.apply(zoned("z1", "z1", "z2"))
	r := w.resources[key]
	if r.Version != all {
		t.Error("hints changed the version for clients that they do not concern")
	}
	versions := map[string]string{}
	for _, v := range r.Variants {
		versions[v.Place] = v.Version
	}
	if got := slices.Sorted(maps.Keys(versions)); !slices.Equal(got, []string{"zone/z1", "zone/z2"}) {
		t.Fatalf("variants for %v", got)
	}
	w.apply(plain[:2])
	if w.resources[key].Version != versions["zone/z1"] {
		t.Error("the same endpoints have another version as a variant")
	}
}

// TestTopologyOfClients: a program without a proxy cannot reach endpoints without one where others have
// one; a zone of nothing but these is no zone to stay in.
func TestTopologyOfClients(t *testing.T) {
	w := newTopology(t, nil)
	pod := model.Key{Namespace: "a", Name: "web-0"}
	endpoints := zoned("z1", "z2")
	endpoints[0].Pod = pod
	w.take(w.graph.Apply([]source.Event{{Kind: source.Pod, Key: pod, Object: model.Workload{
		Key: pod, UID: "u", Kind: names.KindSidecar, Node: "n1", ServiceAccount: "web", Addresses: []netip.Addr{endpoints[0].Addr},
	}}}, Inputs{}))
	w.apply(endpoints)
	for name, want := range map[string][]string{"out/a/web/80": {"10.0.0.2"}, "client/a/web/80": {"10.0.0.1"}} {
		if d := cmp.Diff(want, usedAt(t, w.resources, name, place{"n9", "z2"})); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
