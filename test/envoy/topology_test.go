// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
)

// zoned is a Service with an endpoint in each of two zones, as clients at a place have it.
type zoned struct {
	service
	port  uint16
	pods  map[string]*pod // by zone
	hints bool            // whether the endpoints have hints for their zones
	gone  string          // the zone whose endpoint is not ready
}

// near is what clients in a zone use.
func (z zoned) near(zone string) []model.Endpoint {
	svc := model.Service{Key: z.key().Service, Ports: []model.ServicePort{{Name: "p", Port: 80, Protocol: z.protocol}}}
	slice := model.Slice{Service: svc.Key, Ports: []model.SlicePort{{Name: "p", Port: z.port}}}
	behind := map[model.Key]model.Workload{}
	for at, p := range z.pods {
		k := model.Key{Namespace: "shop", Name: p.name}
		addr := netip.MustParseAddr(p.ip)
		behind[k] = model.Workload{Key: k, ServiceAccount: p.name, Kind: "sidecar", Addresses: []netip.Addr{addr}}
		e := model.SliceEndpoint{Addr: addr, Pod: k, Zone: at, Ready: at != z.gone}
		if z.hints {
			e.Hints = &model.Hints{Zones: []string{at}}
		}
		slice.Endpoints = append(slice.Endpoints, e)
	}
	port := model.Resolve(svc, []model.Slice{slice}, model.MaxPairs, func(k model.Key) (model.Workload, bool) { w, ok := behind[k]; return w, ok },
		func(netip.Addr) (model.Workload, bool) { return model.Workload{}, false }, nil).Ports[0]
	all := port.On(svc.Key, "")
	for _, p := range model.Places(false, "", zone) {
		for _, n := range all.Near {
			if n.Place == p {
				return n.List
			}
		}
	}
	return all.List
}

// TestTopology: clients in two zones use the endpoints of theirs, and those of the other zone when none
// there is ready. Nothing but the endpoints changes: requests and connections that are under way stay,
// and neither a listener nor a cluster is replaced.
func TestTopology(t *testing.T) {
	m := newMesh(t)
	in := model.Inbound{Ports: []model.InboundPort{{Port: 8080, Protocol: model.HTTP}, {Port: 9090, Protocol: model.TCP}}}
	pods := map[string]*pod{"z1": m.sidecar(t, "a", "198.18.9.11", in, nil), "z2": m.sidecar(t, "b", "198.18.9.12", in, nil)}
	asked := map[string]*app{}
	for _, p := range pods {
		asked[p.name] = serve(t, p.listen(t, ":8080"), p.name)
		banner(t, p.listen(t, ":9090"), p.name)
	}
	accounts := []string{"a", "b"}
	web := zoned{service: service{name: "cart", vip: "198.19.9.1", protocol: model.HTTP, accounts: accounts}, port: 8080, pods: pods}
	db := zoned{service: service{name: "db", vip: "198.19.9.2", protocol: model.TCP, accounts: accounts}, port: 9090, pods: pods}
	hold := func(zone string) []envoy.Resource {
		web.endpoints, db.endpoints = web.near(zone), db.near(zone)
		return concat(web.all(m), db.all(m))
	}
	web.hints, db.hints = true, true
	clients := map[string]*pod{
		"z1": m.sidecar(t, "c1", "198.18.9.21", model.Inbound{}, hold("z1")),
		"z2": m.sidecar(t, "c2", "198.18.9.22", model.Inbound{}, hold("z2")),
	}
	change := func(hints bool, gone string) {
		t.Helper()
		web.hints, web.gone, db.hints, db.gone = hints, gone, hints, gone
		for zone, c := range clients {
			c.hold(t, hold(zone))
		}
	}
	answers := func(zone string) map[string]int {
		t.Helper()
		out := map[string]int{}
		c := client(clients[zone].netns)
		for range 20 {
			got := get(t, c, "http://198.19.9.1/", nil)
			if got.status != 200 {
				t.Fatalf("%d: %s", got.status, got.body)
			}
			out[got.echo.Pod]++
		}
		return out
	}
	only := func(zone, name string) {
		t.Helper()
		if got := answers(zone); got[name] != 20 {
			t.Errorf("a client in %s was answered by %v, want %s", zone, got, name)
		}
	}
	only("z1", "a")
	only("z2", "b")

	replaced := func() string {
		out := ""
		for _, s := range []string{"listener_manager.listener_added", "listener_manager.listener_modified", "listener_manager.listener_removed", "cluster_manager.cluster_added", "cluster_manager.cluster_modified", "cluster_manager.cluster_removed"} {
			out += fmt.Sprint(s, " ", clients["z1"].stat(t, s+"$"), "\n")
		}
		return out
	}
	before := replaced()
	conn, lines := dialFrom(t, clients["z1"].netns, "198.19.9.2:80")
	if got := line(t, lines); got != "220 a" {
		t.Fatalf("greeted with %q", got)
	}
	slow := make(chan error, 1)
	go func() {
		got, err := ask(t.Context(), client(clients["z1"].netns), http.MethodGet, "http://198.19.9.1/slow?sleep=3s", nil)
		if err == nil && (got.status != 200 || got.echo.Pod != "a") {
			err = fmt.Errorf("status %d from %q: %s", got.status, got.echo.Pod, got.body)
		}
		slow <- err
	}()
	seen := asked["a"].asked.Load()
	eventually(t, 10*time.Second, func() error {
		if asked["a"].asked.Load() == seen {
			return errors.New("the slow request has not arrived")
		}
		return nil
	})
	still := func(when string) {
		t.Helper()
		_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
		send(t, conn, when+"\n")
		if got := line(t, lines); got != "250 "+when {
			t.Fatalf("%s: the connection that was there answered %q", when, got)
		}
	}
	change(true, "z1")
	only("z1", "b")
	only("z2", "b")
	still("no endpoint in z1 is ready")
	if err := <-slow; err != nil {
		t.Errorf("the request that was under way: %v", err)
	}
	change(true, "")
	only("z1", "a")
	only("z2", "b")
	still("one is again")
	change(false, "")
	for zone := range clients {
		if got := answers(zone); got["a"] == 0 || got["b"] == 0 {
			t.Errorf("without hints a client in %s was answered by %v", zone, got)
		}
	}
	still("the hints are gone")
	change(true, "")
	only("z1", "a")
	still("they are back")
	if after := replaced(); after != before {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
}
