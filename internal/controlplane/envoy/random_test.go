// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy_test

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/testing/invariant"
	"tulle.dev/tulle/internal/testing/models"
	"tulle.dev/tulle/internal/testing/simulate"
)

// TestRandom translates random models: whatever they say, the result is whole and valid, has the
// same bytes each time, and can be asked.
func TestRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for i := range uint64(100) {
		check(t, seed+i)
	}
}

// FuzzRandom does the same with seeds of the fuzzer's choice.
func FuzzRandom(f *testing.F) {
	for i := range uint64(8) {
		f.Add(i)
	}
	f.Fuzz(check)
}

func check(t *testing.T, seed uint64) {
	t.Helper()
	in := models.Random(seed)
	world := in.World()
	if err := invariant.Check(world); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	for i, r := range in.World() {
		a, err := world[i].Body()
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if b, _ := r.Body(); !bytes.Equal(a, b) {
			t.Fatalf("seed %d: %s has other bytes the second time", seed, r.Name)
		}
	}
	w, rnd := simulate.New(world), rand.New(rand.NewPCG(seed, 8))
	for _, f := range in.Frontends {
		c := simulate.Connection{Listener: "std/outbound", To: netip.AddrPortFrom(netip.MustParseAddr(f.Addresses[0]), f.Key.Port)}
		hosts, paths := models.Hosts(), models.Paths()
		c.Request = &simulate.Request{Host: hosts[rnd.IntN(len(hosts))], Path: paths[rnd.IntN(len(paths))], Headers: map[string]string{"x-a": "v1"}}
		out, err := w.Connect(c)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		// Only where connections are told apart by server names plaintext has no place.
		named := slices.ContainsFunc(f.Streams, func(s model.Stream) bool { return s.Hosts != nil })
		if out.Closed != named || f.Protocol.IsHTTP() && out.Status == 0 && len(out.Clusters) == 0 {
			t.Fatalf("seed %d: %s is neither answered nor sent on", seed, f.Key)
		}
	}
}
