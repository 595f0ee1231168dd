// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package loadbalancer

import (
	"fmt"
	"math/rand"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAssign(t *testing.T) {
	small := netip.MustParsePrefix("198.19.128.0/30") // two usable addresses
	for _, c := range []struct {
		about    string
		services []Service
		want     []Decision
	}{
		{
			"the first free address, in the order of keys",
			[]Service{{Key: "b", Wants: true}, {Key: "a", Wants: true}},
			[]Decision{{Key: "a", Address: "198.19.128.1"}, {Key: "b", Address: "198.19.128.2"}},
		},
		{
			"nothing to do for who has one",
			[]Service{{Key: "a", Wants: true, Current: []string{"198.19.128.2"}}},
			nil,
		},
		{
			"who has one keeps it before whoever asks for it",
			[]Service{{Key: "a", Wants: true, Requested: "198.19.128.1"}, {Key: "b", Wants: true, Current: []string{"198.19.128.1"}}},
			[]Decision{{Key: "a", Problem: "loadBalancerIP 198.19.128.1 belongs to Service b"}},
		},
		{
			"a request comes before a free choice",
			[]Service{{Key: "a", Wants: true}, {Key: "b", Wants: true, Requested: "198.19.128.1"}},
			[]Decision{{Key: "a", Address: "198.19.128.2"}, {Key: "b", Address: "198.19.128.1"}},
		},
		{
			"a changed request moves the address",
			[]Service{{Key: "a", Wants: true, Requested: "198.19.128.2", Current: []string{"198.19.128.1"}}},
			[]Decision{{Key: "a", Address: "198.19.128.2"}},
		},
		{
			"used up",
			[]Service{{Key: "a", Wants: true}, {Key: "b", Wants: true}, {Key: "c", Wants: true}},
			[]Decision{
				{Key: "a", Address: "198.19.128.1"},
				{Key: "b", Address: "198.19.128.2"},
				{Key: "c", Problem: "the pool 198.19.128.0/30 is used up"},
			},
		},
		{
			"taken back when it is not wanted any more",
			[]Service{{Key: "a", Current: []string{"198.19.128.1"}}},
			[]Decision{{Key: "a"}},
		},
		{
			"an address of another pool is replaced",
			[]Service{{Key: "a", Wants: true, Current: []string{"192.0.2.1"}}},
			[]Decision{{Key: "a", Address: "198.19.128.1"}},
		},
		{
			"not the network's or the last address, not nonsense",
			[]Service{
				{Key: "a", Wants: true, Requested: "198.19.128.0"},
				{Key: "b", Wants: true, Requested: "198.19.128.3"},
				{Key: "c", Wants: true, Requested: "x"},
			},
			[]Decision{
				{Key: "a", Problem: "loadBalancerIP 198.19.128.0 is not in the pool 198.19.128.0/30"},
				{Key: "b", Problem: "loadBalancerIP 198.19.128.3 is not in the pool 198.19.128.0/30"},
				{Key: "c", Problem: "loadBalancerIP x is not in the pool 198.19.128.0/30"},
			},
		},
	} {
		t.Run(c.about, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Assign(small, c.services)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Over any history: nobody shares, nobody loses an address that they may keep,
// and a second pass has nothing left to do.
func TestAssignOverHistories(t *testing.T) {
	pool := netip.MustParsePrefix("198.19.128.0/28")
	r := rand.New(rand.NewSource(1))
	for range 200 {
		services := map[string]Service{}
		for range 40 {
			key := fmt.Sprint("s", r.Intn(18))
			switch r.Intn(4) {
			case 0:
				delete(services, key)
			case 1:
				s := services[key]
				s.Key, s.Wants, s.Requested = key, true, fmt.Sprintf("198.19.128.%d", r.Intn(16))
				services[key] = s
			default:
				s := services[key]
				s.Key, s.Wants, s.Requested = key, r.Intn(5) > 0, ""
				services[key] = s
			}
			before := map[string]Service{}
			var list []Service
			for k, s := range services {
				before[k] = s
				list = append(list, s)
			}
			for _, d := range Assign(pool, list) {
				s := services[d.Key]
				if s.Wants && s.Requested == "" && len(s.Current) == 1 {
					t.Fatalf("%s lost %s without a reason: %+v", d.Key, s.Current[0], d)
				}
				s.Current = nil
				if d.Address != "" {
					s.Current = []string{d.Address}
				}
				services[d.Key] = s
			}
			owner := map[string]string{}
			list = list[:0]
			for k, s := range services {
				list = append(list, s)
				for _, a := range s.Current {
					if owner[a] != "" {
						t.Fatalf("%s and %s both have %s", k, owner[a], a)
					}
					owner[a] = k
				}
			}
			for _, d := range Assign(pool, list) {
				if d.Problem == "" {
					t.Fatalf("a second pass changes %+v (was %+v)", d, before[d.Key])
				}
			}
		}
	}
}
