// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package loadbalancer

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Service is what matters of a Service here.
type Service struct {
	// Key is namespace/name.
	Key string
	// Wants is true for type LoadBalancer without a foreign class.
	Wants bool
	// Requested is spec.loadBalancerIP; "" for any.
	Requested string
	// Current is the addresses in its status.
	Current []string
}

// Decision is what a Service's status should say.
type Decision struct {
	Key string
	// Address is empty to take the address away.
	Address string
	// Problem says why a Service that wants an address gets none.
	Problem string
}

// Assign decides the addresses of all Services, and returns the decisions that
// differ from what their status says, by key. Services keep what they have;
// requests come before free choices; then the key's order decides. The first
// and last address of the pool are not given out.
func Assign(pool netip.Prefix, services []Service) []Decision {
	services = slices.Clone(services)
	slices.SortFunc(services, func(a, b Service) int { return strings.Compare(a.Key, b.Key) })
	taken := map[netip.Addr]string{} // address -> key
	given := map[string]netip.Addr{} // key -> address
	problems := map[string]string{}
	give := func(s Service, a netip.Addr) { taken[a], given[s.Key] = s.Key, a }

	for _, s := range services { // what they have
		if a, ok := kept(pool, s); ok && taken[a] == "" {
			give(s, a)
		}
	}
	for _, s := range services { // what they ask for
		if _, has := given[s.Key]; has || !s.Wants || s.Requested == "" {
			continue
		}
		a, err := netip.ParseAddr(s.Requested)
		switch {
		case err != nil || !usable(pool, a):
			problems[s.Key] = fmt.Sprintf("loadBalancerIP %s is not in the pool %s", s.Requested, pool)
		case taken[a] != "":
			problems[s.Key] = fmt.Sprintf("loadBalancerIP %s belongs to Service %s", a, taken[a])
		default:
			give(s, a)
		}
	}
	for _, s := range services { // anything that is free
		if _, has := given[s.Key]; has || !s.Wants || s.Requested != "" {
			continue
		}
		a, ok := free(pool, taken)
		if !ok {
			problems[s.Key] = fmt.Sprintf("the pool %s is used up", pool)
			continue
		}
		give(s, a)
	}

	var changes []Decision
	for _, s := range services {
		d := Decision{Key: s.Key, Problem: problems[s.Key]}
		if a, has := given[s.Key]; has {
			d.Address = a.String()
		}
		if d.Problem != "" || !says(s, d.Address) {
			changes = append(changes, d)
		}
	}
	return changes
}

// kept is the address that a Service has and may keep.
func kept(pool netip.Prefix, s Service) (netip.Addr, bool) {
	if !s.Wants || len(s.Current) != 1 || s.Requested != "" && s.Requested != s.Current[0] {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s.Current[0])
	return a, err == nil && usable(pool, a)
}

func says(s Service, address string) bool {
	if address == "" {
		return len(s.Current) == 0
	}
	return len(s.Current) == 1 && s.Current[0] == address
}

func usable(pool netip.Prefix, a netip.Addr) bool {
	return pool.Contains(a) && a != pool.Masked().Addr() && pool.Contains(a.Next())
}

func free(pool netip.Prefix, taken map[netip.Addr]string) (netip.Addr, bool) {
	for a := pool.Masked().Addr().Next(); usable(pool, a); a = a.Next() {
		if taken[a] == "" {
			return a, true
		}
	}
	return netip.Addr{}, false
}
