// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/virtualhost"
)

// TestPrecedence compares ReadPrecedence with the rules of Gateway API written down as a comparison of all routes with
// all others, for random listeners and routes with few names, so that they meet often.
func TestPrecedence(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	lost, taken, idle := 0, 0, 0
	for i := range uint64(4000) {
		w := newRivals(rand.New(rand.NewPCG(seed, i)))
		for _, parent := range []model.Object{w.parent, w.set} {
			got := ReadPrecedence(w, parent)
			all := w.Listeners(w.gateway)
			for _, li := range all.of(parent) {
				p := pairwise{w, li, all, map[*Candidate]*Candidate{}}
				for _, c := range w.routes {
					if !c.valid || len(p.fit(c)) == 0 {
						continue
					}
					want := p.outcome(c)
					have, _ := got[c.source].at(li.id)
					if have.takes != want.takes || !slices.Equal(have.hosts, want.hosts) || (have.by == nil) != (want.by == nil) || have.by != nil && *have.by != *want.by {
						t.Errorf("%v on listener %s: %+v by %v, want %+v by %v", c.source, li.id, have, have.by, want, want.by)
					}
					switch {
					case want.takes:
						taken++
					case want.by != nil && c.IsOpaque():
						idle++
					case want.by != nil:
						lost++
					}
				}
			}
			for n := range 2 {
				mixed := *w
				mixed.routes = slices.Clone(w.routes)
				rand.New(rand.NewPCG(seed, uint64(n))).Shuffle(len(mixed.routes), func(i, j int) { mixed.routes[i], mixed.routes[j] = mixed.routes[j], mixed.routes[i] })
				again := ReadPrecedence(&mixed, parent)
				for k := range got {
					if !got[k].Same(again[k]) || len(got) != len(again) {
						t.Errorf("the order of the routes shows in the precedence of %v", k)
					}
				}
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d, number %d", seed, i)
		}
	}
	if lost < 300 || taken < 1000 || idle < 100 {
		t.Errorf("too little happened: %d routes lost, %d took connections, %d took none (seed %d)", lost, taken, idle, seed)
	}
}

// rivals are the routes of a Gateway and of its ListenerSet.
type rivals struct {
	Lookup
	gateway     model.Key
	parent, set model.Object
	gw          *gwapiv1.Gateway
	ls          *gwapiv1.ListenerSet
	routes      []*Candidate
}

func newRivals(r *rand.Rand) *rivals {
	k := model.Key{Namespace: "a", Name: "edge"}
	w := &rivals{gateway: k, parent: model.Object{Kind: KindGateway, Namespace: "a", Name: "edge"}, set: model.Object{Kind: KindListenerSet, Namespace: "a", Name: "set"}}
	all := gwapiv1.NamespacesFromAll
	w.gw = &gwapiv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "edge"}, Spec: gwapiv1.GatewaySpec{
		GatewayClassName: "tulle", AllowedListeners: &gwapiv1.AllowedListeners{Namespaces: &gwapiv1.ListenerNamespaces{From: &all}},
	}}
	w.ls = &gwapiv1.ListenerSet{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "set"}, Spec: gwapiv1.ListenerSetSpec{ParentRef: gwapiv1.ParentGatewayReference{Name: "edge"}}}
	of := func(names ...string) string { return names[r.IntN(len(names))] }
	for i := range 1 + r.IntN(8) {
		from, mode := gwapiv1.FromNamespaces(of("All", "All", "Same", "Selector")), gwapiv1.TLSModeType(of("Passthrough", "Terminate"))
		li := gwapiv1.Listener{
			Name: gwapiv1.SectionName(fmt.Sprintf("l%d", i)), Port: gwapiv1.PortNumber(80 + r.IntN(2)), TLS: &gwapiv1.ListenerTLSConfig{Mode: &mode},
			Protocol:      gwapiv1.ProtocolType(of("HTTP", "HTTP", "HTTPS", "TLS", "TLS", "TLS", "TCP", "UDP")),
			AllowedRoutes: &gwapiv1.AllowedRoutes{Namespaces: &gwapiv1.RouteNamespaces{From: &from, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "b"}}}},
		}
		if h := gwapiv1.Hostname(of("", "*.com", "*.a.com", "*.x.a.com", "x.a.com", "b.org")); h != "" {
			li.Hostname = &h
		}
		if r.IntN(3) == 0 {
			w.ls.Spec.Listeners = append(w.ls.Spec.Listeners, gwapiv1.ListenerEntry(li))
		} else {
			w.gw.Spec.Listeners = append(w.gw.Spec.Listeners, li)
		}
	}
	for i := range 2 + r.IntN(8) {
		kind := of(KindHTTPRoute, KindHTTPRoute, KindGRPCRoute, KindGRPCRoute, KindTLSRoute, KindTLSRoute, KindTCPRoute, KindUDPRoute)
		k, _ := RouteKindOf(kind)
		c := &Candidate{head{traits: k.traits, source: model.Object{Kind: kind, Namespace: of("a", "b"), Name: fmt.Sprintf("r%d", i)}, created: time.Unix(int64(r.IntN(3)), 0)}, r.IntN(8) > 0}
		for range r.IntN(4) {
			c.hostnames = append(c.hostnames, of("x.a.com", "y.a.com", "*.a.com", "*.x.a.com", "z.x.a.com", "*.com", "b.org", "*.b.org", "a.com"))
		}
		if kind == KindTCPRoute || kind == KindUDPRoute {
			c.hostnames = nil
		}
		for range 1 + r.IntN(2) {
			ns, parent := gwapiv1.Namespace("a"), gwapiv1.Kind(KindGateway)
			ref := gwapiv1.ParentReference{Namespace: &ns, Name: "edge"}
			if r.IntN(3) == 0 {
				parent = KindListenerSet
				ref.Kind, ref.Name = &parent, "set"
			}
			if n := gwapiv1.SectionName(of("", "", "l0", "l1", "l2")); n != "" {
				ref.SectionName = &n
			}
			c.parents = append(c.parents, ref)
		}
		w.routes = append(w.routes, c)
	}
	return w
}

func (w *rivals) Gateway(model.Key) (*gwapiv1.Gateway, bool)         { return w.gw, true }
func (w *rivals) ListenerSet(model.Key) (*gwapiv1.ListenerSet, bool) { return w.ls, true }
func (w *rivals) ListenerSets(model.Key) []*gwapiv1.ListenerSet      { return []*gwapiv1.ListenerSet{w.ls} }
func (w *rivals) OurClass(string) bool                               { return true }
func (w *rivals) Listeners(k model.Key) Listeners                    { return ReadListeners(w, k) }

func (w *rivals) Namespace(name string) (model.Namespace, bool) {
	return model.Namespace{Name: name, Labels: []model.Label{{Name: "team", Value: name}}}, true
}

func (w *rivals) Candidates(on OfKind[model.Object]) []*Candidate {
	return slices.DeleteFunc(slices.Clone(w.routes), func(c *Candidate) bool { return !slices.Contains(c.Parents(), on) })
}

// pairwise compares routes with each other on a listener.
type pairwise struct {
	*rivals
	li    *listener
	all   Listeners
	known map[*Candidate]*Candidate
}

func (p pairwise) fit(c *Candidate) []string {
	if !p.li.chosenBy(&c.head) || !p.li.allows(p, &c.head) {
		return nil
	}
	return p.li.hostsOf(&c.head)
}

// loses returns the oldest route of another kind that is older, in effect, and meets c in a host name.
func (p pairwise) loses(c *Candidate) (oldest *Candidate) {
	if by, ok := p.known[c]; ok {
		return by
	}
	for _, x := range p.routes {
		if x.source.Kind != c.source.Kind && !x.IsOpaque() && x.valid && x.compare(&c.head) < 0 && (oldest == nil || x.compare(&oldest.head) < 0) &&
			virtualhost.MeetAny(p.fit(x), p.li.hostsOf(&c.head)) && p.loses(x) == nil {
			oldest = x
		}
	}
	p.known[c] = oldest
	return oldest
}

func (p pairwise) outcome(c *Candidate) (o outcome) {
	if !c.IsOpaque() {
		if by := p.loses(c); by != nil {
			o.by = &by.source
		}
		return o
	}
	var first *Candidate
	for _, h := range p.li.hostsOf(&c.head) {
		switch by := p.takes(h); {
		case by == c && p.li.tls:
			o.takes, o.hosts = true, append(o.hosts, h)
		case by == c:
			o.takes = true
		case by != nil && (first == nil || p.before(by, first)):
			first = by
		}
	}
	slices.SortFunc(o.hosts, virtualhost.Narrower)
	if !o.takes && first != nil {
		o.by = &first.source
	}
	return o
}

func (p pairwise) before(a, b *Candidate) bool {
	if x, y := slices.Index(p.li.fits, a.source.Kind), slices.Index(p.li.fits, b.source.Kind); x != y {
		return x < y
	}
	return a.compare(&b.head) < 0
}

// takes returns the route that gets the connections for a host name.
func (p pairwise) takes(host string) (best *Candidate) {
	if p.li.tls {
		var own *listener
		for i := range p.all.list {
			li := &p.all.list[i]
			if li.usable() && li.socket() == p.li.socket() && virtualhost.Covers(li.hostname, host) && (own == nil || virtualhost.Narrower(li.hostname, own.hostname) < 0) {
				own = li
			}
		}
		if own == nil || own.id != p.li.id {
			return nil
		}
	}
	narrowest := ""
	for _, c := range p.routes {
		if !c.IsOpaque() || !c.valid || len(p.fit(c)) == 0 {
			continue
		}
		for _, h := range c.ownHostnames() {
			if m, ok := virtualhost.Meet(p.li.hostname, h); !ok || m != host {
				continue
			}
			switch {
			case best == nil, c.source.Kind != best.source.Kind && p.before(c, best):
			case c.source.Kind != best.source.Kind:
				continue
			case p.li.tls && h != narrowest && virtualhost.Narrower(h, narrowest) < 0:
			case h == narrowest && p.before(c, best):
			default:
				continue
			}
			best, narrowest = c, h
		}
	}
	return best
}
