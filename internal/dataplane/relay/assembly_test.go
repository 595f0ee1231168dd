// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package relay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/protocol"
	"tulle.dev/tulle/internal/virtualhost"
)

const edge = "gw/edge/public/80"

// part makes the one rule of a route; Envoy sees and refuses it as "NAME@VERSION".
func (w *world) part(all ...string) {
	for _, s := range all {
		name, version, _ := strings.Cut(s, "@")
		b, err := json.Marshal(protocol.RoutePart{
			Namespace: "edge", Name: name, Claims: []virtualhost.Claim{{Hostnames: []string{""}}},
			Rules: []virtualhost.Rule[[][]byte]{{Rule: [][]byte{[]byte("<" + s + ">")}}},
		})
		if err != nil {
			w.t.Fatal(err)
		}
		w.store(protocol.RoutePartType, name, resource{version, b})
	}
}

// routesIn finds the rules of a table that was put together.
func routesIn(x *wire.Resource) (out []string) {
	if !strings.HasPrefix(x.Name, "gw/") {
		return nil
	}
	b, _ := x.Body()
	for _, m := range regexp.MustCompile(`<([^<>]*)>`).FindAllSubmatch(b, -1) {
		out = append(out, string(m[1]))
	}
	return out
}

// table has these parts in the Gateway's one table.
func (w *world) table(parts ...string) {
	w.scope(own, protocol.Scope{
		Listeners: []string{edge}, Shell: &protocol.RouteShell{},
		Tables: []protocol.RouteTable{{Name: edge, Table: virtualhost.Table{Listeners: []string{""}}, Parts: parts}},
	})
}

// gateway is a world with a Gateway of three routes, settled.
func gateway(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.put("lds " + edge + " 1")
	w.part("p1@1", "p2@1", "p3@1")
	w.table("p1", "p2", "p3")
	w.connect()
	w.boot()
	w.settle()
	return w
}

func (w *world) routed(what string, want ...string) {
	w.t.Helper()
	if d := cmp.Diff(want, w.envoy.routes[edge]); d != "" {
		w.t.Errorf("%s: Envoy's routes (-want +got):\n%s", what, d)
	}
}

// TestParts: a table is put together of its parts, and of a change nothing but the part comes.
func TestParts(t *testing.T) {
	w := gateway(t)
	w.routed("in the beginning", "p1@1", "p2@1", "p3@1")
	if w.server.subs[wire.RouteType] != nil {
		t.Errorf("the table was asked for upstream: %v", w.server.subs[wire.RouteType])
	}
	sent := len(w.server.sent)
	w.part("p2@2")
	w.inform()
	if len(w.toServer) > 0 {
		t.Fatalf("answered before Envoy has: %+v", w.toServer[0])
	}
	w.settle()
	w.routed("after an edit", "p1@1", "p2@2", "p3@1")
	if d := cmp.Diff([]string{"part p2 2"}, w.server.sent[sent:]); d != "" {
		t.Errorf("sent (-want +got):\n%s", d)
	}
	w.table("p1", "p3")
	w.remove("part", "p2")
	w.settle()
	w.routed("without one of them", "p1@1", "p3@1")
	if v := w.server.acked[protocol.RoutePartType+"p2"]; v != "2" {
		t.Errorf("p2 is acknowledged at %q", v)
	}
	if len(w.server.out) > 0 || len(w.server.nacks) > 0 {
		t.Errorf("unanswered %v, NACKs %q", w.server.out, w.server.nacks)
	}
	w.detach()
	w.boot()
	w.settle()
	w.routed("in a new Envoy", "p1@1", "p3@1")
}

// TestPartRefused: one that Envoy refuses is found out, named upstream, and costs no other its way.
func TestPartRefused(t *testing.T) {
	w := gateway(t)
	w.envoy.refuses["p2@2"], w.envoy.refuses["p4@1"] = true, true
	w.part("p1@2", "p2@2", "p3@2", "p4@1", "p5@1")
	w.table("p1", "p2", "p3", "p4", "p5")
	w.settle()
	w.routed("with two bad ones", "p1@2", "p2@1", "p3@2", "p5@1")
	nacks := strings.Join(w.server.nacks, "; ")
	for _, name := range []string{"p2", "p4"} {
		if !strings.Contains(nacks, name+": no good") {
			t.Errorf("NACKs %q, want one that names %s", nacks, name)
		}
	}
	if d := cmp.Diff(map[string]string{"p2": "p2: no good", "p4": "p4: no good"}, w.core.Status().Rejected); d != "" {
		t.Errorf("rejected (-want +got):\n%s", d)
	}
	w.part("p2@3", "p4@2")
	w.settle()
	w.routed("mended", "p1@2", "p2@3", "p3@2", "p4@2", "p5@1")
	if len(w.core.Status().Rejected) > 0 {
		t.Errorf("still rejected: %v", w.core.Status().Rejected)
	}
}

// TestPartRefusedAtFirst: parts are answered for while others of a new table are missing. One that Envoy
// refuses then is refused upstream all the same.
func TestPartRefusedAtFirst(t *testing.T) {
	w := newWorld(t)
	w.put("lds " + edge + " 1")
	w.envoy.refuses["p1@1"] = true
	w.server.late = map[string]bool{"p2": true}
	w.part("p1@1", "p2@1")
	w.table("p1", "p2")
	w.connect()
	w.boot()
	w.deliver()
	w.routed("as long as one has not come")
	w.server.late = nil
	w.serve()
	w.deliver()
	w.routed("with all", "p2@1")
	if d := cmp.Diff([]string{"p1: no good"}, w.server.nacks); d != "" {
		t.Errorf("NACKs (-want +got):\n%s", d)
	}
}

// TestPartThatCannotBeRead is refused, and the table goes without.
func TestPartThatCannotBeRead(t *testing.T) {
	w := gateway(t)
	w.put("part p2 {")
	w.settle()
	w.routed("with one that cannot be read", "p1@1", "p2@1", "p3@1")
	if len(w.server.nacks) != 1 || !strings.Contains(w.server.nacks[0], "p2: ") {
		t.Errorf("NACKs %q", w.server.nacks)
	}
}

// TestPartMissing: one that never comes keeps the others back for a moment only.
func TestPartMissing(t *testing.T) {
	w := newWorld(t)
	w.put("lds " + edge + " 1")
	w.server.late = map[string]bool{"p2": true}
	w.part("p1@1", "p2@1")
	w.table("p1", "p2")
	w.connect()
	w.boot()
	w.deliver()
	w.routed("at once")
	w.now = w.now.Add(gate)
	w.core.Tick(w.now)
	w.deliver()
	w.routed("after a while", "p1@1")
}

// TestPartsReplaceEachOther: what leaves the table stays until what came into it is here.
func TestPartsReplaceEachOther(t *testing.T) {
	w := gateway(t)
	w.server.late = map[string]bool{"q2": true}
	w.part("q1@1", "q2@1")
	w.table("p1", "q1", "q2")
	w.deliver()
	w.part("p1@2")
	w.deliver()
	w.routed("in between", "p1@2", "p2@1", "p3@1", "q1@1")
	w.server.late = nil
	w.serve()
	w.deliver()
	w.routed("at last", "p1@2", "q1@1", "q2@1")
}

// TestPartsOfAnAdoptedEnvoy: a new agent puts together what Envoy has, and sends nothing.
func TestPartsOfAnAdoptedEnvoy(t *testing.T) {
	old := gateway(t)
	w := newWorld(t)
	w.server.have, w.envoy = old.server.have, old.envoy
	heard := len(w.envoy.log)
	w.attach()
	w.settle()
	w.connect()
	w.settle()
	if len(w.envoy.log) != heard {
		t.Errorf("Envoy heard %q, which it had", w.envoy.log[heard:])
	}
	w.envoy.refuses["p2@2"] = true
	w.part("p2@2")
	w.settle()
	w.routed("a refusal later", "p1@1", "p2@1", "p3@1")
}

// TestRandomParts is TestRandom for a table that is put together.
func TestRandomParts(t *testing.T) {
	for seed := range uint64(400) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomParts(t, rand.New(rand.NewPCG(seed, 2))) })
	}
}

func randomParts(t *testing.T, r *rand.Rand) {
	w := gateway(t)
	all := []string{"p1", "p2", "p3", "p4", "p5"}
	good, newest := map[string]string{}, map[string]string{} // by part
	version := 1
	change := func(p string) {
		version++
		v := fmt.Sprint(version)
		if r.IntN(4) == 0 {
			w.envoy.refuses[p+"@"+v] = true
		} else {
			good[p] = v
		}
		newest[p] = v
		w.part(p + "@" + v)
	}
	listed := all[:3]
	for _, p := range listed {
		good[p], newest[p] = "1", "1"
	}
	for range 120 {
		switch r.IntN(24) {
		case 0:
			w.toggleUpstream()
		case 1:
			w.toggleEnvoy(r)
		case 2:
			listed = nil
			for _, p := range all {
				if r.IntN(3) > 0 {
					listed = append(listed, p)
				}
			}
			w.table(listed...)
		case 3, 4, 5:
			change(all[r.IntN(len(all))])
		case 6:
			w.now = w.now.Add(time.Second)
			w.core.Tick(w.now)
		default:
			w.step(r)
		}
	}
	w.mend()
	for _, p := range listed {
		i := slices.IndexFunc(w.envoy.routes[edge], func(s string) bool { return strings.HasPrefix(s, p+"@") })
		got := ""
		if i >= 0 {
			_, got, _ = strings.Cut(w.envoy.routes[edge][i], "@")
		}
		if newest[p] == good[p] && got != good[p] {
			t.Errorf("Envoy has %s at %q, want %q", p, got, good[p])
		}
		if w.envoy.refuses[p+"@"+got] {
			t.Errorf("Envoy has %s at %q, which it refuses", p, got)
		}
	}
	for _, s := range w.envoy.routes[edge] {
		if p, _, _ := strings.Cut(s, "@"); !slices.Contains(listed, p) {
			t.Errorf("Envoy has %s, which is not in the table any more", s)
		}
	}
	w.allAnswered()
}

// BenchmarkPart is the edit of one route of many in the agent, from the control plane's message to Envoy's.
func BenchmarkPart(b *testing.B) {
	for _, routes := range []int{50, 500} {
		b.Run(fmt.Sprintf("routes=%d", routes), func(b *testing.B) {
			w := &quiet{}
			c := NewCore(own, nil, w, slog.New(slog.DiscardHandler))
			now := time.Unix(0, 0)
			c.UpstreamOpen(now)
			c.EnvoyOpen(now)
			c.EnvoyRequest(now, &wire.Request{TypeURL: wire.ClusterType})
			c.EnvoyRequest(now, &wire.Request{TypeURL: wire.RouteType, Subscribe: []string{edge}})
			table := protocol.RouteTable{Name: edge, Table: virtualhost.Table{Listeners: []string{""}}}
			part := func(i, version int) wire.Resource {
				name := fmt.Sprintf("part/edge/public/80/HTTPRoute/edge/route-%d", i)
				body, err := json.Marshal(protocol.RoutePart{
					Namespace: "edge", Name: name, Claims: []virtualhost.Claim{{Domains: []string{name}, Hostnames: []string{name}}},
					Rules: []virtualhost.Rule[[][]byte]{{Rule: [][]byte{bytes.Repeat([]byte{'r'}, 250)}}},
				})
				if err != nil {
					b.Fatal(err)
				}
				return wire.NewResource(protocol.RoutePartType, name, fmt.Sprint(version), body)
			}
			var all []wire.Resource
			for i := range routes {
				x := part(i, 0)
				all, table.Parts = append(all, x), append(table.Parts, x.Name)
			}
			scope, err := json.Marshal(protocol.Scope{Listeners: []string{edge}, Shell: &protocol.RouteShell{}, Tables: []protocol.RouteTable{table}})
			if err != nil {
				b.Fatal(err)
			}
			c.UpstreamResponse(now, &wire.Response{TypeURL: protocol.ScopeType, Nonce: "s", Resources: []wire.Resource{wire.NewResource(protocol.ScopeType, own, "1", scope)}})
			c.EnvoyRequest(now, &wire.Request{TypeURL: wire.ClusterType, Nonce: w.nonce})
			c.UpstreamResponse(now, &wire.Response{TypeURL: protocol.RoutePartType, Nonce: "p", Resources: all})
			c.EnvoyRequest(now, &wire.Request{TypeURL: wire.RouteType, Nonce: w.nonce})
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				c.UpstreamResponse(now, &wire.Response{TypeURL: protocol.RoutePartType, Nonce: fmt.Sprint(i), Resources: []wire.Resource{part(7, i+1)}})
				c.EnvoyRequest(now, &wire.Request{TypeURL: wire.RouteType, Nonce: w.nonce})
			}
			b.ReportMetric(float64(w.bytes), "bytes/table")
		})
	}
}

// quiet is an Output that remembers the last response.
type quiet struct {
	nonce string
	bytes int
}

func (*quiet) Upstream(*wire.Request) {}
func (*quiet) Proxy(protocol.Proxy)   {}
func (q *quiet) Envoy(r *wire.Response) {
	q.nonce, q.bytes = r.Nonce, len(r.Marshal())
}
