// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"os"
	"slices"
	"strings"
	"testing"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/xdsyaml"
)

// side is how a release configures a proxy of a pair, but for certificates.
type side struct {
	common   []envoy.Resource
	inbound  envoy.Resource
	outbound []envoy.Resource
}

// instead returns the resources and, where they have none of the name, others.
func instead(resources, of []envoy.Resource) []envoy.Resource {
	out := slices.Clone(resources)
	for _, r := range of {
		if !slices.ContainsFunc(out, func(x envoy.Resource) bool { return x.Ref() == r.Ref() }) {
			out = append(out, r)
		}
	}
	return out
}

// recordedSide is what release 0.2.0 made of the pair (internal/controlplane/envoy TestRecordPair).
func recordedSide(t *testing.T) *side {
	t.Helper()
	text, err := os.ReadFile("testdata/pair-0.2.0.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all, err := xdsyaml.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	s := &side{}
	for _, r := range all {
		switch {
		case strings.HasPrefix(r.Name, "std/"):
			s.common = append(s.common, r)
		case names.IsInbound(r.Name):
			s.inbound = r
		default:
			s.outbound = append(s.outbound, r)
		}
	}
	if len(s.common) == 0 || s.inbound.Name == "" || len(s.outbound) < 9 {
		t.Fatalf("%d, %q, %d: is this the record?", len(s.common), s.inbound.Name, len(s.outbound))
	}
	return s
}

// TestBetweenReleases: during an upgrade a proxy that was configured by the control plane of one release talks to
// one that was configured by the other's. Requests, streams and bytes go through in both directions.
func TestBetweenReleases(t *testing.T) {
	for name, sides := range map[string]struct{ client, server *side }{
		"a client of 0.2.0": {client: recordedSide(t)},
		"a server of 0.2.0": {server: recordedSide(t)},
		"both of 0.2.0":     {recordedSide(t), recordedSide(t)},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPairOf(t, true, sides.client, sides.server)
			t.Run("WebSocket", p.webSocket)
			t.Run("trailers", p.trailers)
			t.Run("Expect", p.expect)
			t.Run("gRPC", p.grpc)
			t.Run("server first", func(t *testing.T) { greeted(t, p.from.netns, "198.19.9.3:80") })
		})
	}
}
