// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package layout

import (
	"net/netip"
	"strings"
	"testing"
)

func TestDefaultRange(t *testing.T) {
	l, err := New("tulle", 0, "/var/lib/tulle")
	if err != nil {
		t.Fatal(err)
	}
	for what, pair := range map[string][2]string{
		"host":      {l.HostIP().String(), "198.18.255.1"},
		"node":      {l.NodeIP().String(), "198.18.255.2"},
		"link":      {l.Link().String(), "198.18.255.0/30"},
		"pods":      {l.Pods().String(), "198.18.0.0/24"},
		"services":  {l.Services().String(), "198.19.0.0/24"},
		"balancers": {l.LoadBalancers().String(), "198.19.128.0/24"},
		"api":       {l.APIServiceIP().String(), "198.19.0.1"},
		"dns":       {l.DNSIP().String(), "198.19.0.10"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %s, want %s", what, pair[0], pair[1])
		}
	}
}

func TestRangesNeverOverlap(t *testing.T) {
	type owned struct {
		prefix netip.Prefix
		by     int
	}
	var all []owned
	names := map[string]int{}
	for i := 0; i <= MaxRange; i++ {
		l, err := New("a", i, "/s")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range append(l.Routed(), l.Link()) {
			if !Everything().Contains(p.Addr()) || p != p.Masked() {
				t.Errorf("range %d: %s is not a prefix inside %s", i, p, Everything())
			}
			for _, o := range all {
				if o.prefix.Overlaps(p) {
					t.Errorf("%s of range %d overlaps %s of range %d", p, i, o.prefix, o.by)
				}
			}
			all = append(all, owned{p, i})
		}
		for _, a := range []netip.Addr{l.HostIP(), l.NodeIP()} {
			if !l.Link().Contains(a) {
				t.Errorf("range %d: %s is not on the link %s", i, a, l.Link())
			}
		}
		if other, ok := names[l.HostLink()]; ok {
			t.Errorf("ranges %d and %d share the interface %s", i, other, l.HostLink())
		}
		if names[l.HostLink()] = i; len(l.HostLink()) > 15 {
			t.Errorf("interface name %s is too long", l.HostLink())
		}
	}
}

func TestNewRefuses(t *testing.T) {
	long := "/" + strings.Repeat("x", 100)
	for _, c := range []struct {
		name  string
		index int
		state string
		want  string
	}{
		{"", 0, "/s", "cluster name"},
		{"Upper", 0, "/s", "cluster name"},
		{"a/b", 0, "/s", "cluster name"},
		{"..", 0, "/s", "cluster name"},
		{"ends-", 0, "/s", "cluster name"},
		{strings.Repeat("a", 21), 0, "/s", "cluster name"},
		{"a", -1, "/s", "range -1"},
		{"a", 64, "/s", "range 64"},
		{"a", 0, "relative", "absolute"},
		{"a", 0, "/run/x", "has its own /run"},
		{"a", 0, "/var/log/../log/x", "has its own /var/log"},
		{"a", 0, long, "too long for a socket"},
	} {
		_, err := New(c.name, c.index, c.state)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New(%q, %d, %q) = %v, want an error with %q", c.name, c.index, c.state, err, c.want)
		}
	}
	for _, good := range []string{"/running/x", "/home/me/.local/state/tulle/a", "/var/lib"} {
		if _, err := New("a", 0, good); err != nil {
			t.Errorf("state %q: %v", good, err)
		}
	}
}

// down removes only Owned, so every path that a layout speaks of must be in it.
func TestOwnedIsComplete(t *testing.T) {
	l, err := New("a", 0, "/s")
	if err != nil {
		t.Fatal(err)
	}
	owned := map[string]bool{}
	for _, n := range l.Owned() {
		owned[n] = true
	}
	for _, p := range []string{
		l.PKI(), l.Kubeconfig(), l.Bin(), l.Etc(), l.Log("x"), l.ContainerdSocket(), l.ClusterFile(), l.NodeFile(),
	} {
		first, _, _ := strings.Cut(strings.TrimPrefix(p, "/s/"), "/")
		if !owned[first] {
			t.Errorf("%s would stay behind", p)
		}
	}
}
