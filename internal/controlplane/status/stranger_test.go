// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"context"
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/xds"
)

// pod is a principal, as the control plane has them.
type pod struct{ namespace, name, gateway string }

func (p pod) String() string                        { return p.namespace + "/" + p.name }
func (p pod) Workload() (namespace, gateway string) { return p.namespace, p.gateway }

// streams is what subscribers of each resource have answered.
type streams map[xds.Key][]xds.Subscriber

func (s streams) Acks(k xds.Key) (needed, acked int, nacks []xds.Nack) {
	for _, one := range s[k] {
		needed++
		if one.Acked {
			acked++
		}
	}
	return needed, acked, nil
}

func (s streams) Subscribers(k xds.Key, see func(xds.Subscriber) bool) {
	for _, one := range s[k] {
		if !see(one) {
			return
		}
	}
}

func key(name string) xds.Key { return xds.Key{TypeURL: "t", Name: name} }

// answers is how a proxy answers one resource: '-' not subscribed, 'a' acknowledged, 'p' pending, 'r' rejected.
func (s streams) add(stream uint64, who pod, answers map[xds.Key]byte, text string) {
	for k, a := range answers {
		if a != '-' {
			s[k] = append(s[k], xds.Subscriber{Principal: who, Stream: stream, Acked: a == 'a', Rejected: a == 'r', Err: text})
		}
	}
}

// need is the requirement of a route of namespace shop with a backend in namespace stock, on a Gateway or
// on a Service.
func need(gateway bool) Requirement {
	r := Requirement{
		Config: "c", Generation: 1, Lead: []xds.Key{key("lead")}, Follow: []xds.Key{key("follow")},
		Rest: []xds.Key{key("cluster"), key("endpoints")}, Near: Near{Namespaces: []string{"shop", "stock"}},
	}
	if gateway {
		r.Near.Gateway = model.Key{Namespace: "infra", Name: "edge"}
	}
	return r
}

// verdictOf is the outcome some time after the configuration came.
func verdictOf(s streams, r Requirement, after time.Duration) Outcome {
	l := NewLedger(s, "1")
	l.Require(Subject{Kind: "HTTPRoute"}, r)
	sum, _ := Merge([]Progress{l.progress[Subject{Kind: "HTTPRoute"}].Progress})
	o, _ := Judge(Outcome{}, sum, after)
	return o
}

// TestStranger: whatever one proxy of a namespace that has nothing to do with a route answers or does not
// answer, and whatever it asks for, the verdict is the one without it, at the latest after a minute; and no
// text of it is shown. Several proxies of its namespace change no more.
func TestStranger(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	all := []xds.Key{key("lead"), key("follow"), key("cluster"), key("endpoints")}
	for i := range 20000 {
		gateway := i%2 == 0
		r := need(gateway)
		s := streams{}
		stream := uint64(0)
		member := func(who pod, choices string) {
			stream++
			a := map[xds.Key]byte{}
			for _, k := range all {
				a[k] = choices[rng.Intn(len(choices))]
			}
			if who.gateway != r.Near.Gateway.Name && gateway { // others have no right to a Gateway's listener
				a[key("lead")], a[key("follow")] = '-', '-'
			}
			s.add(stream, who, a, "own words")
		}
		for n := range rng.Intn(4) {
			member(pod{"shop", fmt.Sprint("web-", n), ""}, []string{"aaaa", "aaap", "aaar", "a-"}[rng.Intn(4)])
		}
		if gateway {
			for n := range rng.Intn(3) {
				member(pod{"infra", fmt.Sprint("edge-", n), "edge"}, []string{"aaaa", "aaap", "aaar"}[rng.Intn(3)])
			}
		}
		for n := range rng.Intn(20) {
			member(pod{fmt.Sprint("other-", n%3), fmt.Sprint("client-", n), ""}, "aaaa")
		}
		without := verdictOf(s, r, time.Minute)
		for range 1 + rng.Intn(3) {
			kind := pod{"evil", fmt.Sprint("x-", stream), []string{"", "edge", "other"}[rng.Intn(3)]}
			member(kind, "arp--")
		}
		// A last one whose text sorts first.
		stream++
		s.add(stream, pod{"evil", "y", ""}, map[xds.Key]byte{key("cluster"): 'r', key("endpoints"): 'r'}, "!! renew your password")
		with := verdictOf(s, r, time.Minute)
		if with.Programmed != without.Programmed || without.Reason == ReasonRejected && with.Message != without.Message {
			t.Fatalf("gateway %v: %+v without the stranger, %+v with it\n%v", gateway, without, with, s)
		}
		if strings.Contains(with.Message, "password") || strings.Contains(with.Message, "evil") {
			t.Fatalf("the stranger's words: %q", with.Message)
		}
	}
}

// TestWhoDecides: rejections and silence of the proxies that a route concerns decide at once, and those of
// many others together.
func TestWhoDecides(t *testing.T) {
	fine := map[xds.Key]byte{key("lead"): 'a', key("follow"): 'a', key("cluster"): 'a', key("endpoints"): 'a'}
	like := func(k string, a byte) map[xds.Key]byte {
		out := map[xds.Key]byte{}
		for n, v := range fine {
			out[n] = v
		}
		out[key(k)] = a
		return out
	}
	part := func(k string, a byte) map[xds.Key]byte { return map[xds.Key]byte{key(k): a} }
	clients := func(n int, namespace string, a map[xds.Key]byte) func(streams) {
		return func(s streams) {
			for i := range n {
				s.add(uint64(len(s[key("lead")])+1000*len(s[key("cluster")])+i+1), pod{namespace, fmt.Sprint("p-", i), ""}, a, "no\nsuch\u202e \"filter\"")
			}
		}
	}
	edge := func(a map[xds.Key]byte) func(streams) {
		return func(s streams) { s.add(999999, pod{"infra", "edge-1", "edge"}, a, "no") }
	}
	for name, c := range map[string]struct {
		gateway bool
		proxies []func(streams)
		after   time.Duration
		reason  string
		says    string
	}{
		"the Gateway's own proxy rejects":           {true, []func(streams){edge(like("follow", 'r'))}, 0, ReasonRejected, `proxy infra/edge-1 rejected it and keeps its last good configuration: "no"`},
		"the Gateway's own proxy rejects a backend": {true, []func(streams){edge(like("cluster", 'r'))}, 0, ReasonRejected, "infra/edge-1"},
		"the Gateway's own proxy is silent":         {true, []func(streams){edge(like("follow", 'p'))}, time.Hour, ReasonPending, "acknowledged by 0 of 1 proxies"},
		"a pod of the route's namespace rejects":    {true, []func(streams){edge(fine), clients(1, "shop", part("cluster", 'r'))}, 0, ReasonRejected, `: "no?such? 'filter'"`},
		"a pod of the backend's namespace rejects":  {false, []func(streams){clients(9, "a", fine), clients(1, "stock", part("cluster", 'r'))}, 0, ReasonRejected, "stock/p-0"},
		"one other rejects":                         {true, []func(streams){edge(fine), clients(1, "a", part("cluster", 'r'))}, 0, ReasonAcknowledged, "acknowledged by 1 of 1 proxies; 1 proxy of another namespace rejected a part of it"},
		"others of two namespaces do not need it":   {true, []func(streams){edge(fine), clients(5, "a", part("cluster", 'r')), clients(5, "b", part("cluster", 'r'))}, 0, ReasonAcknowledged, "10 proxies of other namespaces"},
		"many clients reject":                       {false, []func(streams){clients(20, "a", fine), clients(3, "b", like("lead", 'r')), clients(3, "c", like("lead", 'r'))}, 0, ReasonRejected, "6 of 26 proxies rejected it"},
		"a whole namespace of clients rejects":      {false, []func(streams){clients(20, "a", fine), clients(9, "b", like("lead", 'r'))}, time.Minute, ReasonAcknowledged, "all but 9 of 29 proxies"},
		"few clients are slow, at first":            {false, []func(streams){clients(199, "a", fine), clients(1, "b", like("lead", 'p'))}, time.Second, ReasonPending, "acknowledged by 199 of 200 proxies"},
		"few clients are slow":                      {false, []func(streams){clients(199, "a", fine), clients(1, "b", like("lead", 'p'))}, 5 * time.Second, ReasonAcknowledged, "acknowledged by all but 1 of 200 proxies"},
		"many clients are slow, at first":           {false, []func(streams){clients(5, "a", fine), clients(5, "b", like("lead", 'p'))}, 59 * time.Second, ReasonPending, "acknowledged by 5 of 10 proxies"},
		"many clients are slow":                     {false, []func(streams){clients(5, "a", like("lead", 'p')), clients(5, "b", like("lead", 'p'))}, time.Hour, ReasonPending, "acknowledged by 0 of 10 proxies"},
		"a client has yet to ask for the routes":    {false, []func(streams){clients(1, "shop", like("follow", '-'))}, time.Hour, ReasonPending, "acknowledged by 0 of 1 proxies"},
		"somebody asks for the routes alone":        {false, []func(streams){clients(1, "shop", like("follow", '-')), clients(1, "a", part("follow", 'a'))}, time.Hour, ReasonPending, "acknowledged by 0 of 1 proxies"},
	} {
		t.Run(name, func(t *testing.T) {
			s := streams{}
			for _, add := range c.proxies {
				add(s)
			}
			o := verdictOf(s, need(c.gateway), c.after)
			if o.Reason != c.reason || !strings.Contains(o.Message, c.says) {
				t.Errorf("%+v, want %s with %q", o, c.reason, c.says)
			}
		})
	}
}

// TestSilenceEnds: a stranger that never answers holds a route's status up for a minute, and then the status
// is written though nothing has happened.
func TestSilenceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{routes: map[string]*gwapiv1.HTTPRoute{"r": {ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "r", Generation: 1}}}}
		w := NewWriter(a, logr.Discard())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.Run(ctx) }()
		defer func() { cancel(); <-done }()
		w.Route(routeID("r"), verdict("one", 1))
		w.Progress(own, Report{Release: "1", Rows: []Row{{Subject: subject(routeID("r"), 0), Progress: Progress{
			Config: "one", Generation: 1, Split: true, Needed: 2, Acked: 1, Others: []Other{{Namespace: "evil", Pending: 1}},
		}}}})
		programmed := func() metav1.Condition {
			a.mu.Lock()
			defer a.mu.Unlock()
			c := a.routes["r"].Status.Parents[0].Conditions
			return c[len(c)-1]
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if c := programmed(); c.Reason != ReasonPending || c.Message != "acknowledged by 1 of 2 proxies" {
			t.Errorf("after half a minute: %+v", c)
		}
		a.take()
		if c := programmed(); c.Status != metav1.ConditionTrue || !strings.HasPrefix(c.Message, "acknowledged by all but 1 of 2 proxies") {
			t.Errorf("after a minute: %+v", c)
		}
		// The stranger answers after all.
		w.Progress(own, rows([]string{"r"}, "one", 2, 2))
		a.take()
		if c := programmed(); c.Message != "acknowledged by 2 of 2 proxies" {
			t.Errorf("once all have acknowledged it: %+v", c)
		}
	})
}

// TestReplicasAddUpByNamespace: replicas add up by namespace, so that a namespace cannot pass for several.
func TestReplicasAddUpByNamespace(t *testing.T) {
	p := Progress{Config: "c", Split: true, Needed: 10, Acked: 5, Others: []Other{{Namespace: "evil", Pending: 5, Rejected: 5}}}
	sum, _ := Merge([]Progress{p, p})
	if o, _ := Judge(Outcome{}, sum, time.Minute); !o.Programmed || !strings.Contains(o.Message, "all but 10 of 20") {
		t.Errorf("%+v of %+v", o, sum)
	}
}

// TestOlderReplica: a replica of 0.2.0 does not say whose rejections it reports; their names do.
func TestOlderReplica(t *testing.T) {
	near := need(true).Near
	p := Progress{Config: "c", Needed: 2, Acked: 2, Rejections: []Rejection{{"evil/x", "!!"}}}
	if o, _ := Judge(Outcome{}, p.split(near), 0); !o.Programmed {
		t.Errorf("a stranger's rejection: %+v", o)
	}
	p.Rejections = append(p.Rejections, Rejection{"infra/edge-1", "no"})
	if o, _ := Judge(Outcome{}, p.split(near), 0); o.Reason != ReasonRejected || !strings.Contains(o.Message, "infra/edge-1") {
		t.Errorf("the Gateway's: %+v", o)
	}
}

// TestQuoted: a proxy's text is short, on one line, in quotes, and nothing of it pretends to be anything else.
func TestQuoted(t *testing.T) {
	for text, want := range map[string]string{
		"":                       `""`,
		"no such filter":         `"no such filter"`,
		"a\nb\tc\x00d":           `"a?b?c?d"`,
		`say "hello"`:            `"say 'hello'"`,
		"left\u202eright\u2066x": `"left?right?x"`,
		"\xff\xfe":               `"??"`,
	} {
		if got := quoted(text); got != want {
			t.Errorf("%q is shown as %s, want %s", text, got, want)
		}
	}
	for _, long := range []string{strings.Repeat("x", 5000), strings.Repeat("€", 5000)} {
		if got := quoted(long); len(got) > 256 || len(got) < 250 || !strings.HasSuffix(got, `"`) {
			t.Errorf("%d bytes: %s", len(got), got)
		}
	}
}

// FuzzQuoted: no text is shown as more than one printable line.
func FuzzQuoted(f *testing.F) {
	f.Add("no such filter")
	f.Add("\u202e\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		got := quoted(text)
		if len(got) > 256 || strings.Count(got, `"`) != 2 || strings.ContainsAny(got, "\n\r\x1b\u202e\u2028") {
			t.Errorf("%q", got)
		}
	})
}

// BenchmarkTally is one look at a route that a thousand proxies use.
func BenchmarkTally(b *testing.B) {
	s := streams{}
	for i := range 1000 {
		s.add(uint64(i+1), pod{fmt.Sprint("ns-", i%50), fmt.Sprint("p-", i), ""}, map[xds.Key]byte{key("lead"): 'a', key("follow"): 'a', key("cluster"): 'a', key("endpoints"): "ap"[i%2]}, "")
	}
	r := need(false)
	for b.Loop() {
		p := Progress{}
		tally(s, r, 1000, &p)
	}
}
