// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tulle.dev/tulle/hack/cluster/layout"
)

// lastResort is a metric behind every real route's.
const lastResort = 4000000

// fence makes all addresses of clusters unreachable on the host, wherever no
// running cluster has a better route, so that a packet for a cluster that is
// down does not go to the host's default gateway.
func fence() error {
	if err := netlink.RouteReplace(fenceRoute()); err != nil {
		return fmt.Errorf("make %s unreachable: %w", layout.Everything(), err)
	}
	return nil
}

// unfence takes the fence away if no cluster is left.
func unfence() error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		if strings.HasPrefix(l.Attrs().Alias, layout.Layout{}.LinkAlias()) {
			return nil
		}
	}
	if err := netlink.RouteDel(fenceRoute()); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("remove the route of %s: %w", layout.Everything(), err)
	}
	return nil
}

func fenceRoute() *netlink.Route {
	return &netlink.Route{Dst: ipnet(layout.Everything()), Type: unix.RTN_UNREACHABLE, Priority: lastResort}
}

// freeLink makes sure that the link's name, and with it the range, is free.
func freeLink(l layout.Layout) error {
	existing, err := netlink.LinkByName(l.HostLink())
	if err != nil {
		return nil // there is none
	}
	if existing.Attrs().Alias != "" {
		return fmt.Errorf("range %d is in use by %s; choose another with --range", l.Range, existing.Attrs().Alias)
	}
	// Half-made: a command ended between making and marking it.
	if err := netlink.LinkDel(existing); err != nil {
		return fmt.Errorf("remove half-made interface %s: %w", l.HostLink(), err)
	}
	return nil
}

// makeLink connects the host with the node's network namespace.
func makeLink(l layout.Layout, pid int) error {
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: l.HostLink()},
		PeerName:      l.NodeLink(),
		PeerNamespace: netlink.NsPid(pid),
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("add interface %s: %w", l.HostLink(), err)
	}
	link, err := netlink.LinkByName(l.HostLink())
	if err != nil {
		return fmt.Errorf("find interface %s: %w", l.HostLink(), err)
	}
	if err := netlink.LinkSetAlias(link, l.LinkAlias()); err != nil {
		return fmt.Errorf("mark interface %s: %w", l.HostLink(), err)
	}
	// IPv4 only. A kernel without IPv6 has no such file.
	v6 := "/proc/sys/net/ipv6/conf/" + l.HostLink() + "/disable_ipv6"
	if err := os.WriteFile(v6, []byte("1"), 0o644); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("disable IPv6 on %s: %w", l.HostLink(), err)
	}
	address := &netlink.Addr{IPNet: ipnet(netip.PrefixFrom(l.HostIP(), l.Link().Bits()))}
	if err := netlink.AddrAdd(link, address); err != nil {
		return fmt.Errorf("give %s its address: %w", l.HostLink(), err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set up interface %s: %w", l.HostLink(), err)
	}
	return Route(l)
}

// Route adds the host's routes to the cluster, those that are missing.
func Route(l layout.Layout) error {
	link, err := netlink.LinkByName(l.HostLink())
	if err != nil {
		return fmt.Errorf("find interface %s: %w", l.HostLink(), err)
	}
	if err := fence(); err != nil {
		return err
	}
	for _, p := range l.Routed() {
		if err := netlink.RouteReplace(&netlink.Route{
			LinkIndex: link.Attrs().Index, Dst: ipnet(p), Gw: l.NodeIP().AsSlice(), Src: l.HostIP().AsSlice(),
			// The link has no carrier until the node has set up its end.
			Flags: int(netlink.FLAG_ONLINK),
		}); err != nil {
			return fmt.Errorf("route %s: %w", p, err)
		}
	}
	return nil
}

// Linked tells whether the host's end of the link is there.
func Linked(l layout.Layout) bool {
	link, err := netlink.LinkByName(l.HostLink())
	return err == nil && link.Attrs().Alias == l.LinkAlias()
}

// removeLink removes this cluster's link, if it is this cluster's. Usually it
// has gone with the node's namespace already.
func removeLink(l layout.Layout) error {
	if !Linked(l) {
		return nil
	}
	link, err := netlink.LinkByName(l.HostLink())
	if err != nil {
		return nil // it went just now
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove interface %s: %w", l.HostLink(), err)
	}
	return nil
}

func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
