// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/types/known/structpb"
)

const noted = "type.test/Note"

func noteOf(url, key, text string) *discoveryv3.DeltaDiscoveryRequest {
	return &discoveryv3.DeltaDiscoveryRequest{TypeUrl: url, Node: &corev3.Node{Id: "not who I am", Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{
		key: structpb.NewStringValue(text), "number": structpb.NewNumberValue(1),
	}}}}
}

func TestNotes(t *testing.T) {
	b := newBench(t, Options{Notes: []string{noted, noted + "2"}, NoteFields: []string{"REPORT"}}, set(clusters, "a", "1"))
	dropped := func(reason string) float64 { return testutil.ToFloat64(b.srv.metrics.dropped.WithLabelValues(reason)) }
	shown := func(what string, want ...Note) {
		t.Helper()
		if d := cmp.Diff(want, b.srv.Streams()[0].Notes); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	shown("nothing yet")
	b.request(noteOf(noted, "REPORT", "one"))
	first := b.clock
	shown("the first", Note{noted, map[string]string{"REPORT": "one"}, first})
	b.clock = b.clock.Add(time.Second)
	b.request(noteOf(noted+"2", "REPORT", "other"))
	b.request(noteOf(noted, "REPORT", "two"))
	b.subscribe(clusters, "a")
	both := []Note{{noted, map[string]string{"REPORT": "two"}, b.clock}, {noted + "2", map[string]string{"REPORT": "other"}, b.clock}}
	shown("the last of each type", both...)
	b.want("Cluster a=1") // and no answer to a note

	b.request(noteOf(noted, "REPORT", strings.Repeat("x", maxNoteBytes)))
	b.request(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: noted})
	b.request(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: noted, ResourceNamesSubscribe: []string{"a"}, ResponseNonce: "1"})
	shown("what is too large or empty changes nothing", both...)
	if o, e := dropped("oversized"), dropped("empty"); o != 1 || e != 2 {
		t.Errorf("%v oversized and %v empty notes, want 1 and 2", o, e)
	}
	if n := b.srv.Streams()[0].Names; n != 1 {
		t.Errorf("the stream subscribes to %d names", n)
	}
	if id := b.srv.Streams()[0].Node.ID; id != "" {
		t.Errorf("a note introduces the client as %q", id)
	}
}

// TestFrequentNotes: a client that tells too often is not heard for a moment, and then again.
func TestFrequentNotes(t *testing.T) {
	b := newBench(t, Options{Notes: []string{noted}, NoteFields: []string{"REPORT"}})
	for i := range noteBurst + 7 {
		b.request(noteOf(noted, "REPORT", fmt.Sprint(i)))
	}
	last := func() string { return b.srv.Streams()[0].Notes[0].Metadata["REPORT"] }
	if n := testutil.ToFloat64(b.srv.metrics.dropped.WithLabelValues("frequent")); n != 7 || last() != fmt.Sprint(noteBurst-1) {
		t.Errorf("%v were dropped and the last is %s", n, last())
	}
	b.clock = b.clock.Add(noteEvery)
	b.request(noteOf(noted, "REPORT", "again"))
	if last() != "again" {
		t.Errorf("the last is %s", last())
	}
	b.request(noteOf(noted, "REPORT", "at once"))
	if last() != "again" {
		t.Errorf("the last is %s", last())
	}
	b.clock = b.clock.Add(time.Hour)
	for i := range noteBurst + 1 {
		b.request(noteOf(noted, "REPORT", fmt.Sprint(i)))
	}
	if last() != fmt.Sprint(noteBurst-1) {
		t.Errorf("an hour saved up %s more than it may", last())
	}
}

// TestUnknownNotes: a control plane that doesn't know a type of note does not answer it either, and goes
// on serving the stream.
func TestUnknownNotes(t *testing.T) {
	b := newBench(t, Options{}, set(clusters, "a", "1"))
	b.subscribe(clusters, "a")
	for range 100 {
		b.request(noteOf(noted, "REPORT", "one"))
	}
	b.want("Cluster a=1") // and no answer to a note
}
