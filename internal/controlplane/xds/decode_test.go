// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"tulle.dev/tulle/internal/printable"
)

// keepAll are limits under which everything that a test sends is kept.
func keepAll(names int) limits {
	return limits{names: names, meta: func(string) []string { return []string{"SLOT", "OTHER"} }, metaBytes: func(string) int { return maxNodeBytes }}
}

func full(t testing.TB) *discoveryv3.DeltaDiscoveryRequest {
	meta, err := structpb.NewStruct(map[string]any{"SLOT": "a", "NUMBER": 7, "NESTED": map[string]any{"x": []any{1, "y", nil}}, "BOOL": true, "UNUSED": "z"})
	if err != nil {
		t.Fatal(err)
	}
	return &discoveryv3.DeltaDiscoveryRequest{
		Node: &corev3.Node{Id: "sidecar.a", Cluster: "c", Metadata: meta}, TypeUrl: clusters, ResponseNonce: "7",
		ResourceNamesSubscribe: []string{"a", "ä"}, ResourceNamesUnsubscribe: []string{"b"},
		InitialResourceVersions: map[string]string{"a": "1", "b": ""}, ErrorDetail: &statuspb.Status{Code: 3, Message: "no"},
	}
}

// TestDecode: what is used of a request is read as a general decoder reads it.
func TestDecode(t *testing.T) {
	b, err := proto.Marshal(full(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := deltaLayout.decode(b, keepAll(10))
	if err != nil {
		t.Fatal(err)
	}
	want := &request{
		url: clusters, nonce: "7", node: &Node{ID: "sidecar.a", Metadata: map[string]string{"SLOT": "a"}}, rejected: true, text: "no",
		subscribe: []string{"a", "ä"}, unsubscribe: []string{"b"}, versions: map[string]string{"a": "1", "b": ""},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(request{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	state, err := proto.Marshal(&discoveryv3.DiscoveryRequest{
		VersionInfo: "1", Node: full(t).GetNode(), ResourceNames: []string{"a"}, TypeUrl: clusters, ResponseNonce: "7", ErrorDetail: &statuspb.Status{},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err = stateLayout.decode(state, keepAll(10))
	if err != nil {
		t.Fatal(err)
	}
	want = &request{url: clusters, nonce: "7", node: want.node, rejected: true, subscribe: []string{"a"}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(request{})); d != "" {
		t.Errorf("state of the world (-want +got):\n%s", d)
	}
}

// TestDecodeWords: the words of a rejection are one line without control characters, within their bound.
func TestDecodeWords(t *testing.T) {
	for said, want := range map[string]string{
		"bad\x1b[2J\r\n[ok] forged\u202e":       "bad�[2J  [ok] forged�",
		"\xff":                                  "�",
		strings.Repeat("\x1b", maxErrorBytes+9): strings.Repeat("�", maxErrorBytes/3),
	} {
		detail := appendString(nil, 2, said)
		b := protowire.AppendBytes(protowire.AppendTag(nil, 7, protowire.BytesType), detail)
		if got, err := deltaLayout.decode(b, keepAll(10)); err != nil || got.text != want || !got.rejected {
			t.Errorf("%q became %q, %v", said, got.text, err)
		}
	}
}

// TestDecodeBounds: what goes beyond a bound is refused or cut, and never allocated first.
func TestDecodeBounds(t *testing.T) {
	long := strings.Repeat("x", maxNameBytes+1)
	name := func(field protowire.Number, s string) []byte { return appendString(nil, field, s) }
	for what, b := range map[string][]byte{
		"many names":        slices.Repeat(name(3, "a"), 11),
		"many unsubscribed": slices.Repeat(name(4, "a"), 11),
		"many empty names":  slices.Repeat(name(3, ""), 1_000_000),
		"a long name":       name(3, long),
		"a long type":       name(2, long),
		"a nameless version": protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType),
			name(2, "1")),
		"a group":    protowire.AppendTag(nil, 9, protowire.StartGroupType),
		"cut":        name(3, "abc")[:3],
		"not UTF-8":  name(3, "\xff"),
		"not a node": append(name(1, "\xff\xff"), name(2, clusters)...),
	} {
		if r, err := deltaLayout.decode(b, keepAll(10)); err == nil {
			t.Errorf("%s: taken as %+v", what, r)
		}
	}
	r := full(t)
	r.Node.Id, r.ErrorDetail.Message = strings.Repeat("ä", maxNodeBytes), strings.Repeat("ä", maxErrorBytes)
	r.Node.Metadata.Fields["SLOT"] = structpb.NewStringValue(long)
	r.InitialResourceVersions["a"], r.ResponseNonce = long, long
	b, err := proto.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := deltaLayout.decode(b, keepAll(10))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.node.ID) != maxNodeBytes || len(got.node.Metadata["SLOT"]) != maxNodeBytes || len(got.text) != maxErrorBytes ||
		len(got.versions["a"]) != maxVersionBytes || len(got.nonce) > maxNameBytes {
		t.Errorf("not cut: %+v", got)
	}
}

// metadataBomb is a request with a node whose metadata is that many bytes of what becomes large when it is
// decoded.
func metadataBomb(size int) []byte {
	message := func(field protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), b)
	}
	// Struct.fields["SLOT"] = Value{list: {values: [{}, {}, ...]}}
	values := slices.Repeat([]byte{1<<3 | 2, 0}, size/2)
	entry := append(appendString(nil, 1, "SLOT"), message(2, message(6, values))...)
	return append(message(1, message(3, message(1, entry))), appendString(nil, 2, clusters)...)
}

// TestMetadataBomb: a request whose metadata is made to grow when it is decoded costs nothing like that.
func TestMetadataBomb(t *testing.T) {
	b := metadataBomb(7 << 20)
	allocated := func(f func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	general := allocated(func() { _ = proto.Unmarshal(b, &discoveryv3.DeltaDiscoveryRequest{}) })
	own := allocated(func() {
		if _, err := deltaLayout.decode(b, keepAll(10)); err != nil {
			t.Error(err)
		}
	})
	t.Logf("%d MiB of request: a general decoder allocates %d MiB, ours %d KiB", len(b)>>20, general>>20, own>>10)
	if own > 64<<10 || general < 10*uint64(len(b)) {
		t.Errorf("ours allocates %d bytes, a general decoder %d", own, general)
	}
}

// FuzzDecode reads any bytes by hand and with a general decoder. What both take, they take for the same.
func FuzzDecode(f *testing.F) {
	seed, err := proto.Marshal(full(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed, false)
	f.Add(metadataBomb(64), false)
	f.Add(appendString(appendString(nil, 3, "a"), 4, clusters), true)
	f.Add([]byte("\x0b\x0c"), false)
	f.Fuzz(func(t *testing.T, b []byte, state bool) {
		if len(b) > 64<<10 {
			return
		}
		l := deltaLayout
		if state {
			l = stateLayout
		}
		got, err := l.decode(b, keepAll(100))
		if err != nil {
			return
		}
		if printable.Line(got.text) != got.text || len(got.text) > maxErrorBytes {
			t.Errorf("words of %d bytes: %q", len(got.text), got.text)
		}
		if len(got.subscribe) > 100 || len(got.unsubscribe) > 100 || len(got.versions) > 100 {
			t.Fatal("more names than allowed")
		}
		var delta discoveryv3.DeltaDiscoveryRequest
		var whole discoveryv3.DiscoveryRequest
		var url, nonce string
		var names []string
		if state {
			if proto.Unmarshal(b, &whole) != nil {
				return // not UTF-8 where we don't look, or a broken message in what we skip
			}
			url, nonce, names = whole.GetTypeUrl(), whole.GetResponseNonce(), whole.GetResourceNames()
		} else {
			if proto.Unmarshal(b, &delta) != nil {
				return
			}
			url, nonce, names = delta.GetTypeUrl(), delta.GetResponseNonce(), delta.GetResourceNamesSubscribe()
			if !slices.Equal(got.unsubscribe, delta.GetResourceNamesUnsubscribe()) {
				t.Errorf("unsubscribe: %q, want %q", got.unsubscribe, delta.GetResourceNamesUnsubscribe())
			}
			if want := slices.Sorted(maps.Keys(delta.GetInitialResourceVersions())); !slices.Equal(slices.Sorted(maps.Keys(got.versions)), want) {
				t.Errorf("versions: %q, want %q", got.versions, want)
			}
		}
		if got.url != url || len(nonce) <= maxNameBytes && got.nonce != nonce || !slices.Equal(got.subscribe, names) {
			t.Errorf("%+v, want %q, %q, %q", got, url, nonce, names)
		}
	})
}
