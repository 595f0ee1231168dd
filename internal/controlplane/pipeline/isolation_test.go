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

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
)

// TestNamespacesAreIsolated: whatever objects come into namespace b, everything that was published for namespace a
// stays as it was: what its pods serve, how its Services, pods and addresses are reached and by which identities,
// and its Gateways. Only the lists of what to subscribe to may get longer. The objects of b name pods, Services,
// Gateways and addresses of a in every way there is, without a grant of a's.
func TestNamespacesAreIsolated(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	changes, intrusions := 0, 0
	for round := range 30 {
		rnd := rand.New(rand.NewPCG(seed, uint64(round)))
		a, b := &world{rnd: rnd, home: "a"}, &world{rnd: rnd, home: "b"}
		c := newCluster(t, class(), namespaceEvent("a", true), namespaceEvent("b", rnd.IntN(2) == 0))
		for i, node := range []string{"n1", "n2"} { // a node's addresses are known by any pod on it
			k := model.Key{Namespace: "kube-system", Name: node}
			c.apply(source.Event{Kind: source.Pod, Key: k, Object: model.Workload{
				Key: k, UID: node, Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 8, 0, byte(i + 1)})}, Node: node,
				NodeAddresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 168, 0, byte(i + 1)})},
			}})
		}
		for range 40 {
			c.apply(a.event())
		}
		c.dial("10.0.0.1:8080", "10.0.0.2:8081", "10.0.0.3:80", "10.1.0.10:80", "10.9.0.1:80", "10.9.0.1:81", "198.51.100.1:80", "192.168.0.1:30080")
		before, reached := maps.Clone(c.all), map[string][]string{}
		for k, w := range c.g.in.workloads.All() {
			if w.Kind == names.KindSidecar && !w.Ended {
				reached[k.Name] = c.reached("a", k.Name)
			}
		}
		var said []string
		for range 40 {
			e := b.event()
			if rnd.IntN(6) == 0 {
				e = b.intrusion()
				intrusions++
			}
			said = append(said, fmt.Sprintf("%s %s: %+v", e.Kind, e.Key, e.Object))
			c.apply(e)
			changes++
			for k, was := range before {
				if is, ok := c.all[k]; ofA(c, k) && (!ok || !sameVersion(is, was)) {
					t.Fatalf("round %d: %s has changed (there: %v). The objects of b:\n%s", round, k, ok, strings.Join(said, "\n"))
				}
			}
			for pod, want := range reached {
				now := c.reached("a", pod)
				if i := slices.IndexFunc(want, func(l string) bool { return !slices.Contains(now, l) }); i >= 0 {
					t.Fatalf("round %d: pod a/%s has lost the listener %s. The objects of b:\n%s", round, pod, want[i], strings.Join(said, "\n"))
				}
			}
		}
	}
	if changes == 0 || intrusions == 0 {
		t.Error("nothing was tried")
	}
}

// ofA reports whether a resource is one of namespace a's: all are that were there before b's objects came, but for
// the lists of what to subscribe to, and for addresses that are not a's.
func ofA(c *cluster, k xds.Key) bool {
	if a, err := names.ParseDestination(k.Name); err == nil {
		return isAs(c, a)
	}
	return !names.IsScopeMesh(k.Name) && !strings.HasPrefix(k.Name, names.ScopeSidecar("a", "")) &&
		!strings.HasPrefix(k.Name, "scope/variants/") && k.Name != names.ScopeNamespace("b")
}

// isAs reports whether an address is a pod's or a Service's of a.
func isAs(c *cluster, a netip.AddrPort) bool {
	d, ok := c.g.destinations.clusters.Value(a)
	return ok && (d.Account.Namespace == "a" || d.Service.Service.Namespace == "a")
}

// TestForeignRoutes: routes of another namespace that are attached to a Service or send to it do not change what
// its pods' ports speak.
func TestForeignRoutes(t *testing.T) {
	c := newCluster(t, namespaceEvent("shop", true), namespaceEvent("aaa", true), podEvent("shop", "server", "10.0.0.2"),
		serviceEvent("shop", "server", "10.1.0.1", func(s *model.Service) { s.Ports[0].Protocol, s.Ports[0].Declared = model.TCP, false }),
		sliceEvent("shop", "server", "10.0.0.2 server"))
	before := maps.Clone(c.all)
	w := &world{rnd: rand.New(rand.NewPCG(1, 1)), home: "b"}
	for i := range 50 {
		k := model.Key{Namespace: "aaa", Name: fmt.Sprint("r", i)}
		r := w.grpcRoute(k)
		of := gwapiv1.Namespace("shop")
		r.Spec.ParentRefs[0].Name, r.Spec.ParentRefs[0].Namespace = "server", &of
		c.apply(source.Event{Kind: "GRPCRoute", Key: k, Object: r})
	}
	for k, was := range before {
		if is := c.all[k]; strings.Contains(k.Name, "/shop/") && !strings.HasPrefix(k.Name, "scope/") && !sameVersion(is, was) {
			t.Errorf("%s has changed", k)
		}
	}
}
