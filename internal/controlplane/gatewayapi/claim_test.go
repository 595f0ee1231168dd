// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tulle.dev/tulle/internal/virtualhost"
)

// TestClaims: an agent makes the same virtual hosts of the claims as of all host names of the routes on all listeners
// that they are attached to, and there are no more host names in the claims than those of route and listeners.
func TestClaims(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	hosts := 0
	for i := range uint64(10000) {
		w := newRivals(rand.New(rand.NewPCG(seed, i)))
		all := w.Listeners(w.gateway)
		for n := range all.list {
			li := &all.list[n]
			if li.bytes || !li.usable() {
				continue
			}
			table := virtualhost.Table{Listeners: []string{li.hostname}}
			own := []*listener{li}
			if !li.tls {
				table, own = virtualhost.Table{}, nil
				for m := range all.list {
					if x := &all.list[m]; x.usable() && x.socket() == li.socket() {
						table.Listeners, own = append(table.Listeners, x.hostname), append(own, x)
					}
				}
			}
			var want, got []*virtualhost.Part[string]
			for _, c := range w.routes {
				whole := &virtualhost.Part[string]{Created: c.created, Namespace: c.source.Namespace, Name: c.source.Name, Kind: c.source.Kind}
				whole.Rules = []virtualhost.Rule[string]{{Rule: c.source.Namespace + "/" + c.source.Name}}
				part := *whole
				names := 0
				for _, on := range own {
					a := attachment{&Route{head: c.head}, on.hostsOf(&c.head)}
					if !on.chosenBy(&c.head) || !on.allows(w, &c.head) || len(a.hosts) == 0 {
						continue
					}
					claim := a.claim(on, all)
					names += len(claim.Hostnames)
					part.Claims = append(part.Claims, claim)
					claim.Hostnames = slices.Compact(slices.Sorted(slices.Values(c.ownHostnames())))
					whole.Claims = append(whole.Claims, claim)
				}
				if names > len(c.ownHostnames())+len(own) {
					t.Errorf("%v has %d host names on %d listeners in %+v", c.hostnames, names, len(own), part.Claims)
				}
				part.Claims = slices.DeleteFunc(part.Claims, func(c virtualhost.Claim) bool { return len(c.Domains) == 0 })
				if len(whole.Claims) > 0 {
					want, got = append(want, whole), append(got, &part)
				}
			}
			hosts += len(want)
			if d := cmp.Diff(virtualhost.Compose(table, want), virtualhost.Compose(table, got)); d != "" {
				t.Fatalf("seed %d, number %d: virtual hosts of all names (-) and of the claims (+):\n%s", seed, i, d)
			}
		}
	}
	if hosts < 1000 {
		t.Errorf("only %d routes had claims (seed %d)", hosts, seed)
	}
}
