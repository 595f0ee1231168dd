// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import "testing"

// TestJudge walks through the life of a route: each row is judged with the outcome of the row before.
func TestJudge(t *testing.T) {
	no := []Rejection{{Proxy: "a/b", Message: "no such filter"}}
	var last Outcome
	for i, step := range []struct {
		now    Progress
		ok     bool
		reason string
	}{
		{Progress{Config: "1"}, true, ReasonNoProxies},                                      // nobody is there
		{Progress{Config: "1", Needed: 2}, true, ReasonNoProxies},                           // proxies start: nothing is taken back
		{Progress{Config: "1", Needed: 2, Acked: 1}, true, ReasonNoProxies},                 //
		{Progress{Config: "1", Needed: 2, Acked: 2}, true, ReasonAcknowledged},              // all have it: no longer unneeded
		{Progress{Config: "1", Needed: 3, Acked: 2}, true, ReasonAcknowledged},              // one more pod: no flapping
		{Progress{Config: "1"}, true, ReasonAcknowledged},                                   // all gone: still none
		{Progress{Config: "2", Needed: 3}, false, ReasonPending},                            // a change must be acknowledged again
		{Progress{Config: "2", Needed: 3, Acked: 2, Rejections: no}, false, ReasonRejected}, //
		{Progress{Config: "2", Needed: 3, Acked: 2}, false, ReasonPending},                  // the one that refused has gone
		{Progress{Config: "2", Needed: 3, Acked: 3}, true, ReasonAcknowledged},              //
		{Progress{Config: "2", Needed: 3, Acked: 3, Rejections: no}, false, ReasonRejected}, // a refusal is told even of what was settled
		{Progress{Config: "3", Needed: 0}, true, ReasonNoProxies},                           //
		{Progress{Config: "4", Needed: 1}, false, ReasonPending},                            // unneeded is settled for its own config only
	} {
		last = Judge(last, step.now)
		if last.Programmed != step.ok || last.Reason != step.reason {
			t.Fatalf("step %d: %+v", i, last)
		}
	}
}

// TestMerge: replicas add up only while they speak of the same configuration.
func TestMerge(t *testing.T) {
	sum, ok := Merge([]Progress{{Config: "1", Needed: 2, Acked: 1}, {Config: "1", Needed: 3, Acked: 3}})
	if !ok || sum.Needed != 5 || sum.Acked != 4 || sum.Done() {
		t.Errorf("%+v, %v", sum, ok)
	}
	if _, ok := Merge([]Progress{{Config: "1"}, {Config: "2"}}); ok {
		t.Error("replicas of two minds were merged")
	}
	if _, ok := Merge(nil); ok {
		t.Error("nobody's progress is known")
	}
}
