// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package layout

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
)

// MaxRange is the largest range number: the links to the host take four
// addresses each of 198.18.255.0/24.
const MaxRange = 63

// Domain is the cluster's DNS domain.
const Domain = "cluster.local"

// Every cluster's addresses are inside Everything. The host keeps an
// unreachable route for it while any cluster is up, so that an address of a
// cluster that is down never reaches the machine's own network.
func Everything() netip.Prefix { return netip.MustParsePrefix("198.18.0.0/15") }

// Layout is where one cluster is. Make it with New; it is a value and never
// changes.
type Layout struct {
	// Name is the cluster's name, a DNS label of at most 20 characters.
	Name string
	// Range is the number that all addresses follow from, 0 to MaxRange.
	Range int
	// State is the absolute path of the folder with the cluster's files.
	State string
}

// New checks the three values and returns the layout.
func New(name string, index int, state string) (Layout, error) {
	if !regexp.MustCompile(`^[a-z]([-a-z0-9]{0,18}[a-z0-9])?$`).MatchString(name) {
		return Layout{}, fmt.Errorf("cluster name %q: use at most 20 of a-z, 0-9 and '-', beginning with a letter", name)
	}
	if index < 0 || index > MaxRange {
		return Layout{}, fmt.Errorf("range %d: use a number from 0 to %d", index, MaxRange)
	}
	if !filepath.IsAbs(state) {
		return Layout{}, fmt.Errorf("state folder %q: use an absolute path", state)
	}
	state = filepath.Clean(state)
	for _, hidden := range []string{"/run", "/var/run", "/var/log", "/proc", "/sys", "/dev"} {
		if state == hidden || len(state) > len(hidden) && state[:len(hidden)+1] == hidden+"/" {
			return Layout{}, fmt.Errorf("state folder %q: the node has its own %s; choose another folder", state, hidden)
		}
	}
	l := Layout{Name: name, Range: index, State: state}
	// A unix socket's path is limited to 107 bytes by the kernel.
	if n := len(l.ContainerdSocket() + ".ttrpc"); n > 107 {
		return Layout{}, fmt.Errorf("state folder %q: its path is %d bytes too long for a socket in it", state, n-107)
	}
	return l, nil
}

// Pods is the range that pods get their addresses from.
func (l Layout) Pods() netip.Prefix { return prefix(198, 18, l.Range, 0, 24) }

// Services is the range of cluster IPs.
func (l Layout) Services() netip.Prefix { return prefix(198, 19, l.Range, 0, 24) }

// LoadBalancers is the pool for Services of type LoadBalancer.
func (l Layout) LoadBalancers() netip.Prefix { return prefix(198, 19, 128+l.Range, 0, 24) }

// Link is the network between host and node.
func (l Layout) Link() netip.Prefix { return prefix(198, 18, 255, 4*l.Range, 30) }

// HostIP is the host's address on the link.
func (l Layout) HostIP() netip.Addr { return addr(198, 18, 255, 4*l.Range+1) }

// NodeIP is the node's address on the link, where the API server listens.
func (l Layout) NodeIP() netip.Addr { return addr(198, 18, 255, 4*l.Range+2) }

// APIServiceIP is the cluster IP of kubernetes.default.
func (l Layout) APIServiceIP() netip.Addr { return addr(198, 19, l.Range, 1) }

// DNSIP is the cluster IP of kube-dns.
func (l Layout) DNSIP() netip.Addr { return addr(198, 19, l.Range, 10) }

// Routed lists the ranges that the host reaches through the node.
func (l Layout) Routed() []netip.Prefix {
	return []netip.Prefix{l.Pods(), l.Services(), l.LoadBalancers()}
}

// APIServer is the URL of the API server.
func (l Layout) APIServer() string { return "https://" + l.NodeIP().String() + ":6443" }

// NodeName is the name of the one node.
func (l Layout) NodeName() string { return l.Name + "-node" }

// HostLink is the name of the host's end of the link.
func (l Layout) HostLink() string { return fmt.Sprintf("tulle%d", l.Range) }

// NodeLink is the name of the node's end of the link.
func (l Layout) NodeLink() string { return "uplink" }

// LinkAlias marks the host's end of the link as this cluster's.
func (l Layout) LinkAlias() string { return "test cluster " + l.Name }

// CgroupRoot is the cgroup, below the root of each hierarchy, that holds all
// pods.
func (l Layout) CgroupRoot() string { return "/tulle-" + l.Name }

func addr(a, b, c, d int) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(a), byte(b), byte(c), byte(d)})
}

func prefix(a, b, c, d, bits int) netip.Prefix { return netip.PrefixFrom(addr(a, b, c, d), bits) }
