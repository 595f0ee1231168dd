// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build live

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tulle.dev/tulle/hack/cluster/layout"
)

func TestLiveNetwork(t *testing.T) {
	c := newLive(t, "live-b", 62)
	c.run("up", "--addons", "none")
	t.Run("names", func(t *testing.T) { testNames(t, c) })
	t.Run("load balancer", func(t *testing.T) { testLoadBalancer(t, c) })
	t.Run("nothing leaves", func(t *testing.T) { testNothingLeaves(t, c) })
}

// The cluster's DNS answers the host, for names inside and for names outside.
func testNames(t *testing.T, c *live) {
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, net.JoinHostPort(c.layout.DNSIP().String(), "53"))
	}}
	got, err := r.LookupHost(t.Context(), "kubernetes.default.svc.cluster.local.")
	if err != nil || len(got) != 1 || got[0] != c.layout.APIServiceIP().String() {
		t.Errorf("kubernetes.default is %v, %v", got, err)
	}
	var none *net.DNSError
	if got, err := r.LookupHost(t.Context(), "example.com."); !errors.As(err, &none) || !none.IsNotFound {
		t.Errorf("a name outside is %v, %v; want not found", got, err)
	}
}

// A Service of type LoadBalancer gets an address of the pool that the host
// reaches, the one that it asks for, and gives it back.
func testLoadBalancer(t *testing.T, c *live) {
	// The DNS server's health page is an HTTP server that is there already.
	c.run("kubectl", "-n", "kube-system", "create", "service", "loadbalancer", "front", "--tcp=80:8080")
	c.run("kubectl", "-n", "kube-system", "patch", "service", "front", "-p", `{"spec":{"selector":{"app":null,"k8s-app":"kube-dns"}}}`)
	address := ""
	c.eventually("the Service has an address", func() (bool, string) {
		address = c.run("kubectl", "-n", "kube-system", "get", "service", "front", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
		return address != "", address
	})
	if a, err := netip.ParseAddr(address); err != nil || !c.layout.LoadBalancers().Contains(a) {
		t.Errorf("address %s is not of the pool %s", address, c.layout.LoadBalancers())
	}
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	c.eventually("the host reaches it", func() (bool, string) {
		resp, err := client.Get("http://" + address + "/health")
		if err != nil {
			return false, err.Error()
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK, resp.Status
	})
	c.run("kubectl", "-n", "kube-system", "delete", "service", "front")
	c.run("kubectl", "create", "service", "loadbalancer", "again", "--tcp=80:80")
	c.run("kubectl", "patch", "service", "again", "-p", `{"spec":{"loadBalancerIP":"`+address+`"}}`)
	c.eventually("the address is given again, on request", func() (bool, string) {
		got := c.run("kubectl", "get", "service", "again", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
		return got == address, got
	})
	c.run("kubectl", "delete", "service", "again")
}

// Nothing in the cluster can send a packet off the machine: the node has no
// route to anywhere else; over a run the guard has stopped nothing; and if the
// node had a route, the guard would stop and count the packet.
func testNothingLeaves(t *testing.T, c *live) {
	pid := c.record().Pid

	// Documentation addresses, and whatever the machine itself is connected to.
	elsewhere := []string{"203.0.113.1", "2001:db8::1"}
	own, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range own {
		if r.Gw != nil && !layout.Everything().Contains(addrOf(r.Gw)) {
			elsewhere = append(elsewhere, r.Gw.String())
		}
	}
	inNetwork(t, pid, func() {
		for _, to := range elsewhere {
			if routes, err := netlink.RouteGet(net.ParseIP(to)); err == nil {
				t.Errorf("the node has a route to %s: %v", to, routes)
			}
		}
		if routes, err := netlink.RouteGet(c.layout.HostIP().AsSlice()); err != nil || len(routes) != 1 {
			t.Errorf("the node has no route to the host: %v, %v: the test does not see routes", routes, err)
		}
	})
	before, err := readGuard(pid)
	if err != nil {
		t.Fatal(err)
	}
	if before["stopped"] != 0 || before["passed"] == 0 {
		t.Errorf("the guard's counters are %v, want some passed and none stopped", before)
	}

	// Take the first defence away: with a route, a packet for another network
	// gets as far as the guard, which must stop it. What arrives at the host's
	// end is watched; a packet to the host itself shows that watching works.
	seen := watch(t, c.layout.HostLink())
	inNetwork(t, pid, func() {
		link, err := netlink.LinkByName(c.layout.NodeLink())
		if err != nil {
			t.Error(err)
			return
		}
		_, foreign, err := net.ParseCIDR("203.0.113.0/24")
		if err != nil {
			t.Error(err)
			return
		}
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: foreign, Gw: c.layout.HostIP().AsSlice()}
		if err := netlink.RouteAdd(route); err != nil {
			t.Error(err)
			return
		}
		send(t, "203.0.113.1:9", 3)
		if err := netlink.RouteDel(route); err != nil {
			t.Error(err)
		}
		send(t, c.layout.HostIP().String()+":9", 1)
	})
	arrived := seen(c.layout.HostIP())
	for _, to := range arrived {
		if !layout.Everything().Contains(to) {
			t.Errorf("a packet to %s arrived at the host", to)
		}
	}
	after, err := readGuard(pid)
	if err != nil {
		t.Fatal(err)
	}
	if got := after["stopped"] - before["stopped"]; got != 3 {
		t.Errorf("the guard stopped %d packets, want 3", got)
	}
}

// send sends datagrams from the calling thread's network namespace.
func send(t *testing.T, to string, n int) {
	t.Helper()
	socket, err := net.Dial("udp", to)
	if err != nil {
		t.Error(err)
		return
	}
	defer socket.Close()
	for range n {
		// A packet that the guard drops may be reported as an error here.
		_, _ = socket.Write([]byte("marker"))
	}
}

// watch listens to an interface. The returned function reads what has arrived
// up to the first marker datagram to an address, which must come, and returns
// where each IPv4 packet was sent to.
func watch(t *testing.T, name string) func(until netip.Addr) []netip.Addr {
	t.Helper()
	const all = 0x0300 // ETH_P_ALL in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, all)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Attrs().Index}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}); err != nil {
		t.Fatal(err)
	}
	return func(until netip.Addr) []netip.Addr {
		t.Helper()
		var seen []netip.Addr
		packet := make([]byte, 2048)
		for {
			n, _, err := unix.Recvfrom(fd, packet, 0)
			if err != nil {
				t.Fatalf("the marker to %s never arrived: %v", until, err)
			}
			if n < 20 || packet[0]>>4 != 4 {
				continue
			}
			to := netip.AddrFrom4([4]byte(packet[16:20]))
			seen = append(seen, to)
			if to == until && bytes.HasSuffix(packet[:n], []byte("marker")) {
				return seen
			}
		}
	}
}

// inNetwork runs f in the network namespace of a process.
func inNetwork(t *testing.T, pid int, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread is not used again: it ends with the goroutine.
		runtime.LockOSThread()
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			t.Error(err)
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
