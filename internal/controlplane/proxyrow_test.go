// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// hostileRow is what a pod makes of its row when it says as much as is kept of it.
func hostileRow(i int, kind, text string) ProxyReport {
	p := ProxyReport{
		Namespace: "evil", Pod: fmt.Sprint("p-", i), Kind: kind, Since: time.Unix(1, 0), Slot: strings.Repeat(text, 500), Agent: strings.Repeat(text, 500),
		Report: &protocol.Report{Phase: protocol.PhaseReady, Message: strings.Repeat(text, 2000), Requests: 1 << 63, P99: 1e-300, Plaintext: map[string]uint64{strings.Repeat(text, 500): 1 << 63}},
	}
	for n := range 10 {
		p.Nacks = append(p.Nacks, NackReport{Type: envoy.ClusterType, Name: fmt.Sprint("to/10.77.0.", n), Message: strings.Repeat(text, 512)})
	}
	for range 48 {
		p.Plaintext = append(p.Plaintext, PlaintextReport{Namespace: "shop", Pod: strings.Repeat("web", 50), Count: 1 << 63})
	}
	return p
}

// TestRowsAreBounded: a row has no more bytes than it may, in whatever characters, keeps whose it is and the phase,
// and says that it was cut; a row of a proxy that says what agents say is not cut.
func TestRowsAreBounded(t *testing.T) {
	for _, text := range []string{"<", "\x01", `"`, "\xff", "ü", "\u2028", "\U0001f600"} {
		for limit := maxProxyRow; limit >= minProxyRow; limit /= 2 {
			p := hostileRow(1, names.KindSidecar, text)
			before := p.size()
			if b, err := encode(p); err != nil || len(b) > before {
				t.Errorf("%q: %d bytes, computed were %d, %v", text, len(b), before, err)
			}
			p.cut(limit)
			b, err := encode(p)
			if err != nil || len(b) > limit || len(b) < limit/8 {
				t.Errorf("%q: %d bytes of %d, %v", text, len(b), limit, err)
			}
			if !p.Cut || p.Pod != "p-1" || p.Report == nil || p.Report.Phase != protocol.PhaseReady || len(p.Nacks) == 0 {
				t.Errorf("%q: %+v", text, p)
			}
			c := hostileRow(1, names.KindClient, text)
			c.cut(maxClientRow)
			if b, err := encode(c); err != nil || len(b) > maxClientRow || c.Report != nil || !c.Cut || c.Pod != "p-1" {
				t.Errorf("%q: a client has %d bytes, %v: %s", text, len(b), err, b)
			}
		}
	}
	honest := ProxyReport{
		Namespace: "shop", Pod: "web-5d9c7f8b6-abcde", Kind: names.KindSidecar, Slot: "a", Agent: "0.3.0", Envoy: "1.40.0", Rejected: 2,
		Report: &protocol.Report{Phase: protocol.PhaseStarting, Message: "waiting for Envoy's listeners", Plaintext: map[string]uint64{}},
		Nacks:  []NackReport{{Type: envoy.ClusterType, Name: "out/shop/web/80", Message: strings.Repeat("no ", 100)}},
	}
	for i := range protocol.MaxPlaintext {
		honest.Report.Plaintext[netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String()] = 1000
	}
	for range 20 { // of these are meshed pods
		honest.Plaintext = append(honest.Plaintext, PlaintextReport{Namespace: "shop", Pod: "web-5d9c7f8b6-abcde", Count: 1000})
	}
	if honest.cut(maxProxyRow); honest.Cut || len(honest.Nacks) != 1 || len(honest.Plaintext) != 20 {
		t.Errorf("%d bytes: %+v", honest.size(), honest)
	}
	client := ProxyReport{Namespace: "shop", Pod: "client-5d9c7f8b6-abcde", Kind: names.KindClient, Rejected: 1, Nacks: []NackReport{{Message: "no"}}}
	if client.cut(maxClientRow); client.Cut || len(client.Nacks) != 1 {
		t.Errorf("%+v", client)
	}
}

// TestAnswerOfManyRows: pods that say as much as they can do not make the answer too long, and all are in it.
func TestAnswerOfManyRows(t *testing.T) {
	out := ProxiesReport{}
	for i := range 400 {
		out.Proxies = append(out.Proxies, hostileRow(i, names.KindSidecar, "<"))
		out.Clients = append(out.Clients, hostileRow(i, names.KindClient, "\x01"))
	}
	const most = 400 * (maxProxyRow/4 + maxClientRow)
	text, err := encodeProxies(&out, most)
	if err != nil || len(text) > most {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	var got ProxiesReport
	if err := json.Unmarshal(text, &got); err != nil || len(got.Proxies) != 400 || len(got.Clients) != 400 {
		t.Errorf("%d proxies, %v", len(got.Proxies), err)
	}
	for _, p := range got.Proxies {
		if p.Report == nil || p.Report.Phase != protocol.PhaseReady {
			t.Fatalf("%+v", p)
		}
	}
}

// TestReportOfOneStream: a sidecar that rejects everything and reports as much as it can has a short row.
func TestReportOfOneStream(t *testing.T) {
	p := newPlane(t)
	e := p.pod("evil", "p", "default", names.KindSidecar)
	w := e.Object.(model.Workload)
	w.Addresses = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	e.Object = w
	p.send(e)
	cert, err := p.signerFor("evil", "p", "default").Sign(t.Context(), 0)
	p.must(err)
	s, err := p.openFrom(cert.TLS, "127.0.0.1")
	p.must(err)
	note, err := json.Marshal(protocol.Report{Phase: protocol.PhaseReady, Message: "x"})
	p.must(err)
	text := strings.Replace(string(note), `"x"`, `"`+strings.Repeat("<", 4000-len(note))+`"`, 1)
	meta, err := structpb.NewStruct(map[string]any{protocol.MetaReport: text})
	p.must(err)
	p.must(s.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: protocol.ReportType, Node: &corev3.Node{Metadata: meta}}))
	for i := range 10 { // one at a time, each rejected
		p.must(s.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: envoy.ClusterType, ResourceNamesSubscribe: []string{fmt.Sprintf("to/10.77.0.%d:80", i)}}))
		for {
			r, err := s.Recv()
			p.must(err)
			req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.TypeUrl, ResponseNonce: r.Nonce}
			if len(r.Resources) > 0 && r.TypeUrl == envoy.ClusterType {
				req.ErrorDetail = &statuspb.Status{Message: strings.Repeat("<", 600) + fmt.Sprint(i)}
				p.must(s.Send(req))
				break
			}
			p.must(s.Send(req))
		}
	}
	r := &replica{feed: p.feed, authority: p.authority, server: p.server}
	var got ProxiesReport
	for deadline := time.Now().Add(30 * time.Second); len(got.Proxies) != 1 || got.Proxies[0].Rejected != 10; {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s for 10 rejections: %+v", got)
		}
		a := get(t, http.HandlerFunc(r.proxies), names.PathProxies)
		if a.Code != http.StatusOK || a.Body.Len() > maxProxyRow+200 {
			t.Fatalf("%d, %d bytes", a.Code, a.Body.Len())
		}
		got = ProxiesReport{}
		p.must(json.Unmarshal(a.Body.Bytes(), &got))
	}
	if row := got.Proxies[0]; !row.Cut || row.Report == nil || row.Report.Phase != protocol.PhaseReady || len(row.Nacks) == 0 {
		t.Errorf("%+v", row)
	}
}
