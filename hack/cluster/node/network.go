// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package node

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tulle.dev/tulle/hack/cluster/layout"
)

// lastResort is a metric behind every real route's.
const lastResort = 4000000

// network makes the node's network: a link to the host, and no way to anywhere
// else. Two things keep it so: the default routes are unreachable, and a packet
// that leaves by the link for another range is counted and dropped.
func network(l layout.Layout) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set up loopback: %w", err)
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		if err := netlink.RouteAdd(&netlink.Route{
			Family: family, Dst: anywhere(family), Type: unix.RTN_UNREACHABLE, Priority: lastResort,
		}); err != nil {
			return fmt.Errorf("make the default route unreachable: %w", err)
		}
	}
	if err := guard(l); err != nil {
		return err
	}
	if err := uplink(l); err != nil {
		return err
	}
	if err := serviceRoutes(l); err != nil {
		return err
	}
	return sysctl("net/ipv4/ip_forward", "1")
}

func uplink(l layout.Layout) error {
	link, err := netlink.LinkByName(l.NodeLink())
	if err != nil {
		return fmt.Errorf("find the link to the host: %w", err)
	}
	// No IPv6 on it: not even neighbour discovery leaves the node.
	if err := sysctl("net/ipv6/conf/"+l.NodeLink()+"/disable_ipv6", "1"); err != nil && !os.IsNotExist(err) {
		return err
	}
	address := &netlink.Addr{IPNet: ipnet(netip.PrefixFrom(l.NodeIP(), l.Link().Bits()))}
	if err := netlink.AddrAdd(link, address); err != nil {
		return fmt.Errorf("give the link its address: %w", err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set up the link to the host: %w", err)
	}
	return nil
}

// serviceRoutes routes cluster IPs and load balancer addresses to an empty
// bridge. A packet that the node itself makes is routed before it is
// translated, so without any route the API server could not call a webhook.
// What no rule translates ends on the bridge. (A dummy device would say it
// better; not every kernel has them.)
func serviceRoutes(l layout.Layout) error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "svc0"}}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("add bridge svc0: %w", err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("set up bridge svc0: %w", err)
	}
	for _, p := range []netip.Prefix{l.Services(), l.LoadBalancers()} {
		if err := netlink.RouteAdd(&netlink.Route{
			LinkIndex: bridge.Index, Dst: ipnet(p), Src: l.NodeIP().AsSlice(), Scope: netlink.SCOPE_LINK,
		}); err != nil {
			return fmt.Errorf("route %s: %w", p, err)
		}
	}
	return nil
}

// guardRules counts what leaves by the link, and drops what should not. The
// counter "stopped" is expected to stay at 0 and is shown by `status`.
func guardRules(l layout.Layout) string {
	return fmt.Sprintf(`table inet guard {
	counter passed { }
	counter stopped { }
	chain leave {
		type filter hook postrouting priority 400; policy accept;
		oifname "%[1]s" ip daddr %[2]s counter name "passed" accept
		oifname "%[1]s" counter name "stopped" drop
	}
}
`, l.NodeLink(), layout.Everything())
}

func guard(l layout.Layout) error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Env = []string{path(l)}
	if p, err := exec.LookPath("/usr/sbin/nft"); err == nil {
		cmd.Path, cmd.Err = p, nil
	}
	cmd.Stdin = strings.NewReader(guardRules(l))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("load the guard's rules with nft: %w: %s", err, out)
	}
	return nil
}

func sysctl(name, value string) error {
	if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set %s: %w", name, err)
	}
	return nil
}

func anywhere(family int) *net.IPNet {
	if family == netlink.FAMILY_V6 {
		return ipnet(netip.MustParsePrefix("::/0"))
	}
	return ipnet(netip.MustParsePrefix("0.0.0.0/0"))
}

func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
