// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/rights"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// TestProxyReport: what is told of a stream, as JSON, since other releases read it.
func TestProxyReport(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	who := connected{Proxy: rights.Proxy{Namespace: "shop", Pod: "cart-0", Kind: "sidecar"}}
	note := func(text string) []xds.Note {
		return []xds.Note{
			{TypeURL: "other", Metadata: map[string]string{protocol.MetaReport: `{"phase":"Failed"}`}, At: since},
			{TypeURL: protocol.ReportType, Metadata: map[string]string{protocol.MetaReport: text}, At: since.Add(time.Minute)},
		}
	}
	plain := `{"namespace":"shop","pod":"cart-0","kind":"sidecar","version":"","since":"2026-01-02T03:04:05Z","names":7,"pending":0,"rejected":0}`
	for name, c := range map[string]struct {
		stream xds.Stream
		want   string
	}{
		"an agent that doesn't report": {xds.Stream{Since: since, Names: 7}, plain},
		"all of it": {
			xds.Stream{
				Since: since, Names: 7, Pending: 2, Rejected: 1,
				Rejections: []xds.Rejection{{Key: xds.Key{TypeURL: "t", Name: "n"}, Version: "1", Err: "no such cluster"}},
				Node:       xds.Node{ID: "x", Metadata: map[string]string{protocol.MetaSlot: "b", protocol.MetaVersion: "0.2.0", protocol.MetaEnvoy: "1.40.0", "OTHER": "x"}},
				Notes:      note(`{"phase":"Draining","message":"handover","window":"1m0s","requests":250,"failures":3,"p50":1.5,"p99":20.25,"restarts":1,"later":"x"}`),
			},
			`{"namespace":"shop","pod":"cart-0","kind":"sidecar","version":"","since":"2026-01-02T03:04:05Z","names":7,"pending":2,"rejected":1,` +
				`"nacks":[{"type":"t","name":"n","message":"no such cluster"}],"slot":"b","agent":"0.2.0","envoy":"1.40.0",` +
				`"report":{"phase":"Draining","message":"handover","window":"1m0s","requests":250,"failures":3,"p50":1.5,"p99":20.25,"restarts":1},"reportedAt":"2026-01-02T03:05:05Z"}`,
		},
		"words of a pod that forge a line": {
			xds.Stream{
				Since: since, Names: 7, Rejected: 1, Rejections: []xds.Rejection{{Key: xds.Key{TypeURL: "t", Name: "n\n[ok]"}, Version: "1", Err: "no"}},
				Node:  xds.Node{Metadata: map[string]string{protocol.MetaSlot: "b\x1b", protocol.MetaVersion: "0\r", protocol.MetaEnvoy: "\u202e1"}},
				Notes: note(`{"phase":"Dr\u001b","message":"a\n[ok] b\u001b[2J","window":"1m0s","requests":0,"failures":0,"p50":0,"p99":0,"restarts":0}`),
			},
			`{"namespace":"shop","pod":"cart-0","kind":"sidecar","version":"","since":"2026-01-02T03:04:05Z","names":7,"pending":0,"rejected":1,` +
				`"nacks":[{"type":"t","name":"n [ok]","message":"no"}],"slot":"b�","agent":"0 ","envoy":"�1",` +
				`"report":{"phase":"Dr�","message":"a [ok] b�[2J","window":"1m0s","requests":0,"failures":0,"p50":0,"p99":0,"restarts":0},"reportedAt":"2026-01-02T03:05:05Z"}`,
		},
		"garbage":          {xds.Stream{Since: since, Names: 7, Notes: note("<html>")}, plain},
		"nothing in it":    {xds.Stream{Since: since, Names: 7, Notes: note("")}, plain},
		"a negative count": {xds.Stream{Since: since, Names: 7, Notes: note(`{"requests":-1}`)}, plain},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := json.Marshal(proxyReport(who, c.stream))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, string(b)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// TestPlaintext: of the clients that a proxy reports, those are shown and counted that are meshed pods.
func TestPlaintext(t *testing.T) {
	at := func(list ...string) (out []netip.Addr) {
		for _, a := range list {
			out = append(out, netip.MustParseAddr(a))
		}
		return out
	}
	key := func(name string) model.Key { return model.Key{Namespace: "shop", Name: name} }
	f := &feed{workloads: map[model.Key]model.Workload{
		key("web"):   {Kind: names.KindSidecar, Addresses: at("10.0.0.1")},
		key("api"):   {Kind: names.KindSidecar, Addresses: at("10.0.0.2", "fd00::2")},
		key("edge"):  {Kind: names.KindGateway, Addresses: at("10.0.0.3")},
		key("bare"):  {Addresses: at("10.0.0.4")},
		key("host"):  {Kind: names.KindSidecar, HostNetwork: true, Addresses: at("10.0.0.5")},
		key("ended"): {Kind: names.KindSidecar, Ended: true, Addresses: at("10.0.0.6")},
	}}
	list := []ProxyReport{
		{Namespace: "shop", Pod: "web", Report: &protocol.Report{Plaintext: map[string]uint64{
			"10.0.0.1": 1, "10.0.0.2": 2, "fd00::2": 3, "10.0.0.3": 4, "10.0.0.4": 5, "10.0.0.5": 6, "10.0.0.6": 7, "10.0.0.7": 8, "nonsense": 9,
		}}},
		{Namespace: "shop", Pod: "api", Report: &protocol.Report{}},
		{Namespace: "shop", Pod: "edge"},
	}
	if sum := f.addPlaintext(list); sum != 9 {
		t.Errorf("%d in all, want 9", sum)
	}
	want := []PlaintextReport{{"shop", "api", 3}, {"shop", "api", 2}, {"shop", "edge", 4}}
	if d := cmp.Diff(want, list[0].Plaintext); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if list[1].Plaintext != nil || list[2].Plaintext != nil {
		t.Errorf("without plaintext: %+v", list[1:])
	}
}

// TestReportsPlaintext: only reports with clients are read for the metric.
func TestReportsPlaintext(t *testing.T) {
	for text, want := range map[string]bool{
		`{"phase":"Ready","requests":1}`:                       false,
		`{"phase":"Ready","plaintext":{"10.0.0.2":3}}`:         true,
		`{"phase":"Ready","message":"plaintext","requests":1}`: false,
	} {
		s := xds.Stream{Notes: []xds.Note{{TypeURL: protocol.ReportType, Metadata: map[string]string{protocol.MetaReport: text}}}}
		if got := reportsPlaintext(s); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}
