// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/pipeline"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/lifecycle/shadow"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

type noAcks struct{}

func (noAcks) Acks(xds.Key) (needed, acked int, nacks []xds.Nack) { return 0, 0, nil }

func (noAcks) Subscribers(xds.Key, func(xds.Subscriber) bool) {}

// newFeed is a feed without a cluster and without proxies.
func newFeed(t testing.TB) *feed {
	t.Helper()
	return &feed{
		graph: pipeline.New(func(f incr.Failure) { t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem) }),
		store: xds.NewStore(resourceTypes()...), ledger: status.NewLedger(noAcks{}, "0.2.0"), writer: status.NewWriter(nil, logr.Discard()),
		mesh: "tulle", version: "0.2.0", trust: "cluster.local", system: "tulle-system",
		synced: make(chan struct{}), moved: make(chan struct{}), workloads: map[model.Key]model.Workload{}, namespaces: map[string][]model.Label{}, peers: peers{}, asked: newAsked(),
	}
}

// shop is a world of that many Services, each with two pods and a route to it; the first route has a
// backend that isn't there, and a Gateway shows the last Service over TLS.
func shop(services int) []source.Event {
	e := func(k source.Kind, namespace, name string, o any) source.Event {
		return source.Event{Kind: k, Key: model.Key{Namespace: namespace, Name: name}, Object: o}
	}
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name), Generation: 1}
	}
	out := []source.Event{
		e(source.Mesh, "", "tulle", &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}),
		e(source.Namespace, "", "shop", model.Namespace{Name: "shop", Meshed: true}),
		e(source.GatewayClass, "", "tulle", &gwapiv1.GatewayClass{
			ObjectMeta: metav1.ObjectMeta{Name: "tulle", UID: "c", Generation: 1}, Spec: gwapiv1.GatewayClassSpec{ControllerName: names.ControllerName},
		}),
		e(source.TLSSecret, "shop", "cert", source.TLS{TLSSecret: model.TLSSecret{
			Key: model.Key{Namespace: "shop", Name: "cert"}, Certificate: "THE-CERTIFICATE", PrivateKey: "THE-KEY",
		}}),
		e(source.Gateway, "shop", "gw", &gwapiv1.Gateway{ObjectMeta: meta("gw"), Spec: gwapiv1.GatewaySpec{
			GatewayClassName: "tulle",
			Listeners: []gwapiv1.Listener{{
				Name: "https", Port: 443, Protocol: gwapiv1.HTTPSProtocolType,
				TLS: &gwapiv1.ListenerTLSConfig{CertificateRefs: []gwapiv1.SecretObjectReference{{Name: "cert"}}},
			}, {Name: "tcp", Port: 9000, Protocol: gwapiv1.TCPProtocolType}},
		}}),
		e("TCPRoute", "shop", "tcp", &gwapiv1.TCPRoute{ObjectMeta: meta("tcp"), Spec: gwapiv1.TCPRouteSpec{
			CommonRouteSpec: gwapiv1.CommonRouteSpec{ParentRefs: []gwapiv1.ParentReference{{Name: "gw"}}},
			Rules: []gwapiv1.TCPRouteRule{{BackendRefs: []gwapiv1.BackendRef{{
				BackendObjectReference: gwapiv1.BackendObjectReference{Name: "svc-00001", Port: new(gwapiv1.PortNumber(80))},
			}}}},
		}}),
	}
	kind, group := gwapiv1.Kind("Service"), gwapiv1.Group("")
	for n := range services {
		name := fmt.Sprintf("svc-%05d", n)
		k := model.Key{Namespace: "shop", Name: name}
		s := model.Slice{Key: k, Service: k, Ports: []model.SlicePort{{Name: "http", Port: 8080}}}
		for i := range 2 {
			pod := model.Key{Namespace: "shop", Name: fmt.Sprintf("%s-%d", name, i)}
			addr := netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), byte(i + 1)})
			s.Endpoints = append(s.Endpoints, model.SliceEndpoint{Addr: addr, Pod: pod, Ready: true, Serving: true})
			out = append(out, e(source.Pod, pod.Namespace, pod.Name, model.Workload{
				Key: pod, UID: pod.Name, Addresses: []netip.Addr{addr}, Kind: names.KindSidecar, Node: "n1", ServiceAccount: "default", Ready: true,
			}))
		}
		port := gwapiv1.PortNumber(80)
		parents := []gwapiv1.ParentReference{{Group: &group, Kind: &kind, Name: gwapiv1.ObjectName(name)}}
		backend := gwapiv1.ObjectName(name)
		if n == 0 {
			backend = "missing"
		}
		if n == services-1 {
			parents = append(parents, gwapiv1.ParentReference{Name: "gw"})
		}
		out = append(out,
			e(source.Service, k.Namespace, k.Name, model.Service{
				Key: k, VIPs: []netip.Addr{netip.AddrFrom4([4]byte{11, 0, byte(n >> 8), byte(n)})},
				Ports: []model.ServicePort{{Name: "http", Port: 80, Protocol: model.HTTP, Declared: true}},
			}),
			e(source.EndpointSlice, k.Namespace, k.Name, s),
			e("HTTPRoute", "shop", name, &gwapiv1.HTTPRoute{ObjectMeta: meta(name), Spec: gwapiv1.HTTPRouteSpec{
				CommonRouteSpec: gwapiv1.CommonRouteSpec{ParentRefs: parents},
				Rules: []gwapiv1.HTTPRouteRule{{BackendRefs: []gwapiv1.HTTPBackendRef{{BackendRef: gwapiv1.BackendRef{
					BackendObjectReference: gwapiv1.BackendObjectReference{Name: backend, Port: &port},
				}}}}},
			}}),
		)
	}
	return out
}

func fill(t testing.TB, f *feed, batches ...[]source.Event) {
	t.Helper()
	roots := "PEM"
	if err := f.apply(nil, &roots); err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		if err := f.apply(b, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func ask(t *testing.T, f *feed, query url.Values) (code int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	(&replica{feed: f}).translation(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, names.PathTranslation+"?"+query.Encode(), http.NoBody))
	return w.Code, w.Body.String()
}

// TestTranslationTwice: two replicas that read the same world in another order and in other batches
// tell the same, so that a difference between releases is theirs.
func TestTranslationTwice(t *testing.T) {
	events := shop(20)
	one, two := newFeed(t), newFeed(t)
	if one.translation().Synced {
		t.Error("synced before anything was read")
	}
	fill(t, one, events)
	other := slices.Clone(events)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(other), func(i, j int) { other[i], other[j] = other[j], other[i] })
	fill(t, two, other[:30], other[30:])

	a, b := one.translation(), two.translation()
	if !a.Synced || a.Version != "0.2.0" || a.Commit == b.Commit {
		t.Errorf("synced %v, version %s, commits %d and %d", a.Synced, a.Version, a.Commit, b.Commit)
	}
	b.Commit = a.Commit
	if d := cmp.Diff(a, b); d != "" {
		t.Error(d)
	}
	if len(a.Rejected) != 1 || len(a.Failed) != 0 {
		t.Fatalf("rejected %+v, failed %+v", a.Rejected, a.Failed)
	}
	got := a.Rejected[0]
	if got.Message == "" {
		t.Error("no message")
	}
	got.Message = ""
	want := protocol.RejectedObject{Kind: "HTTPRoute", Namespace: "shop", Name: "svc-00000", Where: "Service svc-00000", Condition: "ResolvedRefs", Reason: "BackendNotFound"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, kind := range resourceTypes() {
		if len(a.Resources[kind.URL]) == 0 {
			t.Errorf("nothing of type %s", kind.URL)
		}
	}
	// One endpoint goes: the assignment differs, and nothing else; its pod's proxy keeps its ports.
	for _, e := range events {
		if s, ok := e.Object.(model.Slice); ok && e.Key.Name == "svc-00003" {
			s.Endpoints = slices.Clone(s.Endpoints)
			s.Endpoints[1].Ready, s.Endpoints[1].Serving = false, false
			fill(t, two, []source.Event{{Kind: e.Kind, Key: e.Key, Object: s}})
		}
	}
	var differ []string
	for kind, all := range two.translation().Resources {
		for name, h := range all {
			if a.Resources[kind][name] != h {
				differ = append(differ, name)
			}
		}
	}
	slices.Sort(differ)
	if d := cmp.Diff([]string{"out/shop/svc-00003/80"}, differ); d != "" {
		t.Error(d)
	}
}

// TestTranslationOne: each resource is shown as JSON, the same each time, and no private key ever.
func TestTranslationOne(t *testing.T) {
	f := newFeed(t)
	fill(t, f, shop(3))
	code, all := ask(t, f, nil)
	var told protocol.Translation
	if err := json.Unmarshal([]byte(all), &told); err != nil || code != http.StatusOK {
		t.Fatal(code, err)
	}
	shown, hidden := 0, 0
	for kind, resources := range told.Resources {
		for name := range resources {
			code, body := ask(t, f, url.Values{"type": {kind}, "name": {name}})
			if strings.Contains(body, "THE-KEY") || strings.Contains(body, "VEhFLUtFW") {
				t.Errorf("%s shows a private key", name)
			}
			if strings.HasPrefix(name, "tls/") {
				hidden++
				if code != http.StatusForbidden {
					t.Errorf("%s: %d %s", name, code, body)
				}
				continue
			}
			shown++
			if code != http.StatusOK || !json.Valid([]byte(body)) {
				t.Errorf("%s: %d %s", name, code, body)
			}
			if _, again := ask(t, f, url.Values{"type": {kind}, "name": {name}}); again != body {
				t.Errorf("%s looks different the second time", name)
			}
		}
	}
	if shown < 20 || hidden != 1 {
		t.Errorf("%d shown, %d hidden", shown, hidden)
	}
	if _, body := ask(t, f, url.Values{"type": {envoy.ClusterType}, "name": {"out/shop/svc-00001/80"}}); !strings.Contains(body, `"eds"`) && !strings.Contains(body, `"EDS"`) {
		t.Errorf("not a cluster: %s", body)
	}
	for _, q := range []url.Values{{"type": {envoy.ClusterType}}, {"name": {"trust"}}, {"type": {"x"}, "name": {"y"}}, {"type": {""}, "name": {""}}} {
		if code, body := ask(t, f, q); code != http.StatusNotFound {
			t.Errorf("%v: %d %s", q, code, body)
		}
	}
}

// TestTranslationOfKeys: a renewed key with the same certificate is no difference, because it isn't
// looked at; another certificate is one.
func TestTranslationOfKeys(t *testing.T) {
	f := newFeed(t)
	fill(t, f, shop(1))
	const name = "tls/shop/gw/shop/cert"
	before := f.translation().Resources[envoy.SecretType][name]
	change := func(certificate, key string) string {
		k := model.Key{Namespace: "shop", Name: "cert"}
		fill(t, f, []source.Event{{Kind: source.TLSSecret, Key: k, Object: source.TLS{TLSSecret: model.TLSSecret{Key: k, Certificate: certificate, PrivateKey: model.Redacted(key)}}}})
		return f.translation().Resources[envoy.SecretType][name]
	}
	if got := change("THE-CERTIFICATE", "ANOTHER-KEY"); got != before || got == "" {
		t.Errorf("the key went into the hash: %q, %q", before, got)
	}
	if got := change("ANOTHER-CERTIFICATE", "ANOTHER-KEY"); got == before {
		t.Error("another certificate has the same hash")
	}
}

// BenchmarkTranslation is the cost of telling all of 10,000 resources.
func BenchmarkTranslation(b *testing.B) {
	f := newFeed(b)
	fill(b, f, shop(1430))
	n := 0
	for _, all := range f.translation().Resources {
		n += len(all)
	}
	b.ReportAllocs()
	size := 0
	for b.Loop() {
		body, err := json.Marshal(f.translation())
		if err != nil {
			b.Fatal(err)
		}
		size = len(body)
	}
	b.ReportMetric(float64(n), "resources")
	b.ReportMetric(float64(size), "bytes/answer")
}

// TestKindsHaveNouns: what changes with a release is told in people's words.
func TestKindsHaveNouns(t *testing.T) {
	for _, kind := range resourceTypes() {
		if noun := (shadow.Kind{Type: kind.URL}).Noun(); strings.HasSuffix(kind.URL, noun) {
			t.Errorf("%s is told as %q", kind.URL, noun)
		}
	}
}

// TestTranslationOfPlaces: what clients in one zone get counts, and is shown.
func TestTranslationOfPlaces(t *testing.T) {
	f := newFeed(t)
	events := shop(1)
	fill(t, f, events)
	const name = "out/shop/svc-00000/80"
	before := f.translation().Resources[envoy.EndpointsType][name]
	for _, e := range events {
		if s, ok := e.Object.(model.Slice); ok {
			s.Endpoints = slices.Clone(s.Endpoints)
			for i := range s.Endpoints {
				s.Endpoints[i].Hints = &model.Hints{Zones: []string{fmt.Sprintf("z%d", i)}}
			}
			fill(t, f, []source.Event{{Kind: e.Kind, Key: e.Key, Object: s}})
		}
	}
	if got := f.translation().Resources[envoy.EndpointsType][name]; got == before || got == "" {
		t.Errorf("hash %q before and %q with hints", before, got)
	}
	_, text := ask(t, f, url.Values{"type": {envoy.EndpointsType}, "name": {name}})
	var shown map[string]struct{ ClusterName string }
	if err := json.Unmarshal([]byte(text), &shown); err != nil || shown[""].ClusterName != name || shown["zone/z1"].ClusterName != name {
		t.Errorf("%v: %s", err, text)
	}
}
