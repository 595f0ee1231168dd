// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package connlimit

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

func source(n uint32) netip.Prefix {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.PrefixFrom(netip.AddrFrom4(b), 32)
}

// TestRates: a source gets its rate and no more, all together get theirs, and one with few requests gets
// answers meanwhile.
func TestRates(t *testing.T) {
	r := rates{perSource: ratePerSource, ofAll: rateOfAll}
	now := time.Unix(1000, 0)
	ask := func(s netip.Prefix, n int) (got int) {
		for range n {
			if r.take(s, now) {
				got++
			}
		}
		return got
	}
	if got := ask(source(1), 10*ratePerSource); got != ratePerSource {
		t.Errorf("one source gets %d at once", got)
	}
	if got := ask(source(2), 10); got != 10 {
		t.Errorf("another gets %d of 10", got)
	}
	now = now.Add(100 * time.Millisecond)
	if got := ask(source(1), 10*ratePerSource); got != ratePerSource/10 {
		t.Errorf("after 0.1 s one source gets %d more", got)
	}
	all := 0
	for i := range uint32(100) {
		all += ask(source(100+i), ratePerSource)
	}
	if all < rateOfAll/2 || all > rateOfAll+100*ratePerSource/10 {
		t.Errorf("100 sources get %d at once", all)
	}
	if got := ask(source(3), 10); got != 10 {
		t.Errorf("a quiet source gets %d of 10 during a flood", got)
	}
}

// TestRatesAreBounded: ever new addresses take no more memory than allowed, and those that are quiet are
// forgotten.
func TestRatesAreBounded(t *testing.T) {
	r := rates{perSource: ratePerSource, ofAll: rateOfAll}
	now := time.Unix(1000, 0)
	for i := range uint32(3 * maxSources) {
		r.take(source(i), now)
	}
	if len(r.sources) != maxSources {
		t.Errorf("%d sources are counted", len(r.sources))
	}
	now = now.Add(time.Second)
	r.take(source(1<<30), now)
	if len(r.sources) != 1 {
		t.Errorf("%d sources are remembered after a second of quiet", len(r.sources))
	}
}
