// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package incr

import (
	"slices"
	"strings"
	"testing"
)

// TestWatch: a watch notes the buckets that come and go, of any of its sources, and no other change.
func TestWatch(t *testing.T) {
	var eng Engine
	c := NewInput[string](&eng, "routes", same[route])
	byGateway := NewIndex(c, strings.Compare, func(_ string, r route) []string { return []string{r.gateway} })
	w := NewWatch[string](&eng, byGateway, c)
	want := func(what string, want ...string) {
		t.Helper()
		eng.Commit(nil)
		got := w.Take()
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	c.Set("a", route{"g", "1"})
	want("the first", "a", "g")
	c.Set("b", route{"g", "1"})
	c.Set("a", route{"g", "2"})
	want("one more in the bucket", "b")
	if !byGateway.Has("g") || byGateway.Has("h") || !slices.Equal(slices.Collect(byGateway.Bucket("g")), []string{"a", "b"}) {
		t.Error("the index has other buckets")
	}
	c.Set("a", route{"h", "2"})
	want("one moves", "h")
	c.Delete("b")
	want("the last goes", "b", "g")
	want("nothing changes")
	defer func() {
		if recover() == nil {
			t.Error("a watch can be built after the first Commit")
		}
	}()
	NewWatch[string](&eng, c)
}
