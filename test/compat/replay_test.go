// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package compat

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/dataplane/wire"
)

// acks is what a control plane heard.
type acks struct {
	mu   sync.Mutex
	list []string
}

func (a *acks) add(k xds.Ack) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, heard(k.Key.TypeURL, k.Key.Name, k.Version, k.Err))
}

// all is what was heard, sorted, each once.
func (a *acks) all() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(a.list)))
}

func heard(url, name, version, refused string) string {
	return fmt.Sprintf("%s %s %s %s", short(url), name, version, refused)
}

// TestOldAgent: everything that an agent of the release before says is understood. This control plane
// has the same resources as the recorded one, and must hear the same acknowledgements.
func TestOldAgent(t *testing.T) {
	steps := load(t)
	first, later := resources(t, steps)
	store := xds.NewStore(types()...)
	commit(t, store, first...)
	server, got := serve(t, store)
	var want []string
	var s *stream
	var recorded, now map[string][]*discoveryv3.DeltaDiscoveryResponse
	for i, x := range steps {
		switch x.kind {
		case connect:
			if s != nil {
				s.close()
			}
			s = dial(t, server)
			recorded, now = map[string][]*discoveryv3.DeltaDiscoveryResponse{}, map[string][]*discoveryv3.DeltaDiscoveryResponse{}
		case change:
			commit(t, store, later...)
		case response:
			m := x.response(t)
			recorded[m.GetTypeUrl()] = append(recorded[m.GetTypeUrl()], m)
		case request:
			m := x.request(t)
			out := x.bytes
			if nonce := m.GetResponseNonce(); nonce != "" {
				url := m.GetTypeUrl()
				n := slices.IndexFunc(recorded[url], func(r *discoveryv3.DeltaDiscoveryResponse) bool { return r.GetNonce() == nonce })
				for len(now[url]) <= n {
					b, ok := s.receive(20 * time.Second)
					if !ok {
						t.Fatalf("step %d: no response %d of type %s", i, n, short(url))
					}
					r := step{response, b}.response(t)
					now[r.GetTypeUrl()] = append(now[r.GetTypeUrl()], r)
				}
				for _, r := range recorded[url][n].GetResources() {
					want = append(want, heard(url, r.GetName(), r.GetVersion(), m.GetErrorDetail().GetMessage()))
				}
				// The only thing in the bytes that is not the agent's own.
				out = withNonce(t, out, now[url][n].GetNonce())
			}
			s.send(t, out)
		}
	}
	want = slices.Compact(slices.Sorted(slices.Values(want)))
	deadline := time.Now().Add(20 * time.Second)
	for !cmp.Equal(want, got.all()) && time.Now().Before(deadline) {
		select {
		case err := <-s.err:
			t.Fatalf("the stream ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	if diff := cmp.Diff(want, got.all()); diff != "" {
		t.Errorf("acknowledgements (-recorded +heard):\n%s", diff)
	}
	if n := slices.IndexFunc(want, func(w string) bool { return bytes.HasSuffix([]byte(w), []byte(refusal)) }); n < 0 {
		t.Errorf("the record has no refusal: %v", want)
	}
}

// TestOldControlPlane: everything that a control plane of the release before says is understood. Envoy
// gets the same bytes, and each response is answered.
func TestOldControlPlane(t *testing.T) {
	a := newAgent("0.3.0")
	var responses, refusals int
	open := map[string]bool{} // nonces that are not answered yet
	last := map[string][]byte{}
	for _, x := range load(t) {
		switch x.kind {
		case connect:
			if len(open) > 0 {
				t.Errorf("responses without an answer: %v", open)
			}
			clear(open)
			a.open()
		case response:
			m := x.response(t)
			responses++
			open[m.GetNonce()] = true
			for _, r := range m.GetResources() {
				last[m.GetTypeUrl()+" "+r.GetName()] = body(t, r)
			}
			if err := a.take(x.bytes); err != nil {
				t.Fatal(err)
			}
		}
		for _, b := range a.up {
			m := step{request, b}.request(t)
			delete(open, m.GetResponseNonce())
			if m.GetErrorDetail() != nil {
				refusals++
			}
		}
		a.up = nil
	}
	if len(open) > 0 {
		t.Errorf("responses without an answer: %v", open)
	}
	if responses < 6 || refusals == 0 {
		t.Errorf("%d responses, %d refusals: is this the record?", responses, refusals)
	}
	kept := 0
	for key, want := range last {
		holds, ok := a.holds[key]
		if refused, no := a.refused[key]; no {
			kept++
			if !ok || bytes.Equal(holds, refused) {
				t.Errorf("%s: a refused version took the place of a good one", key)
			}
			holds = refused
		} else if !ok {
			continue // scopes are the relay's own
		}
		r, err := wire.ParseResource(holds)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Body(); err != nil || !bytes.Equal(unnamed(t, key, got), unnamed(t, key, want)) {
			t.Errorf("%s: Envoy got something else than the control plane sent: %v", key, err)
		}
	}
	if len(a.holds) != 4 || kept != 1 {
		t.Errorf("Envoy holds %d resources, want 4; %d were refused, want 1", len(a.holds), kept)
	}
}

// unnamed returns a resource without the names of its filter chains, which agents give. All else of a
// resource is as the control plane sent it.
func unnamed(t *testing.T, key string, body []byte) []byte {
	t.Helper()
	if !strings.HasPrefix(key, wire.ListenerType+" ") {
		return body
	}
	var l listenerv3.Listener
	if err := proto.Unmarshal(body, &l); err != nil {
		t.Fatal(err)
	}
	for _, c := range l.GetFilterChains() {
		c.Name = ""
	}
	out, err := proto.MarshalOptions{Deterministic: true}.Marshal(&l)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// resources are those of the recorded control plane: the first version of each, and later ones.
func resources(t *testing.T, steps []step) (first, later []xds.Resource) {
	t.Helper()
	versions := map[xds.Key]string{}
	for _, x := range steps {
		if x.kind != response {
			continue
		}
		m := x.response(t)
		for _, r := range m.GetResources() {
			k := xds.Key{TypeURL: m.GetTypeUrl(), Name: r.GetName()}
			y := xds.Resource{Key: k, Version: r.GetVersion(), Body: body(t, r)}
			switch before, ok := versions[k]; {
			case !ok:
				first = append(first, y)
			case before != r.GetVersion():
				later = append(later, y)
			}
			versions[k] = r.GetVersion()
		}
	}
	if len(first) != 5 || len(later) != 1 {
		t.Fatalf("%d resources and %d later versions, want 5 and 1", len(first), len(later))
	}
	return first, later
}

// body is what the resource's Any holds.
func body(t *testing.T, r *discoveryv3.Resource) []byte {
	t.Helper()
	return r.GetResource().GetValue()
}

// withNonce is the same request with another nonce. Fields that today's types don't know are kept.
func withNonce(t *testing.T, b []byte, nonce string) []byte {
	t.Helper()
	m := step{request, b}.request(t)
	m.ResponseNonce = nonce
	out, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
