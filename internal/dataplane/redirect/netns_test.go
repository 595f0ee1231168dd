// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package redirect

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// netns is a goroutine on a thread of its own in a network namespace of its own. What it opens stays
// in the namespace, wherever it is used later.
type netns struct {
	do chan func()
	// fd is the namespace, for links that are moved into it.
	fd int
}

func newNetns(t *testing.T) *netns {
	t.Helper()
	n := &netns{do: make(chan func())}
	ready := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine and its namespace with it.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ready <- fmt.Errorf("make a network namespace (these tests need root): %w", err)
			return
		}
		fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		n.fd = fd
		ready <- err
		for f := range n.do {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(n.do); unix.Close(n.fd) })
	return n
}

// run does f in the namespace as the user (of the files and sockets that f makes).
func (n *netns) run(uid int, f func() error) error {
	done := make(chan error)
	n.do <- func() {
		unix.SetfsuidRetUid(uid)
		defer unix.SetfsuidRetUid(0)
		done <- f()
	}
	return <-done
}

const (
	podIP, peerIP   = "198.18.7.2", "198.18.7.1"
	podIP6, peerIP6 = "fd00:198:18::2", "fd00:198:18::1"
	vip             = "198.19.0.10" // routed to the peer and answered there
)

// newPair makes the namespaces of a pod and of a peer, joined by a cable.
func newPair(t *testing.T) (pod, peer *netns) {
	t.Helper()
	pod, peer = newNetns(t), newNetns(t)
	up := func(name string, addrs ...string) error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			addr, err := netlink.ParseAddr(a)
			if err != nil {
				return err
			}
			addr.Flags = unix.IFA_F_NODAD
			if err := netlink.AddrAdd(l, addr); err != nil {
				return fmt.Errorf("add %s: %w", a, err)
			}
		}
		return netlink.LinkSetUp(l)
	}
	steps := []struct {
		in *netns
		f  func() error
	}{
		{peer, func() error {
			return netlink.LinkAdd(&netlink.Veth{
				LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "pod0", PeerNamespace: netlink.NsFd(pod.fd),
			})
		}},
		{peer, func() error { return up("lo") }},
		{peer, func() error { return up("eth0", peerIP+"/24", vip+"/32", peerIP6+"/64") }},
		{pod, func() error { return up("lo") }},
		{pod, func() error { return up("pod0", podIP+"/24", podIP6+"/64") }},
		{pod, func() error {
			l, err := netlink.LinkByName("pod0")
			if err != nil {
				return err
			}
			return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.ParseIP(peerIP)})
		}},
	}
	for i, s := range steps {
		if err := s.in.run(0, s.f); err != nil {
			t.Fatalf("step %d of the network: %v", i, err)
		}
	}
	return pod, peer
}

// join adds a cable between two namespaces; b gets a default route to gateway.
func join(t *testing.T, a *netns, nameA, addrA string, b *netns, nameB, addrB, gateway string) {
	t.Helper()
	set := func(name, addr string) error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		parsed, err := netlink.ParseAddr(addr)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(l, parsed); err != nil {
			return err
		}
		return netlink.LinkSetUp(l)
	}
	for i, s := range []struct {
		in *netns
		f  func() error
	}{
		{a, func() error {
			return netlink.LinkAdd(&netlink.Veth{
				LinkAttrs: netlink.LinkAttrs{Name: nameA}, PeerName: nameB, PeerNamespace: netlink.NsFd(b.fd),
			})
		}},
		{a, func() error { return set(nameA, addrA) }},
		{b, func() error { return set(nameB, addrB) }},
		{b, func() error { return routeVia("0.0.0.0/0", gateway) }},
	} {
		if err := s.in.run(0, s.f); err != nil {
			t.Fatalf("step %d of the cable: %v", i, err)
		}
	}
}

// routeVia adds a route in the current namespace.
func routeVia(network, gateway string) error {
	_, dst, err := net.ParseCIDR(network)
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(gateway)})
}

// serve answers each connection to addr in the namespace with one line of say.
func serve(t *testing.T, in *netns, uid int, addr string, say func(net.Conn) string) {
	t.Helper()
	var l net.Listener
	network := "tcp4"
	if strings.HasPrefix(addr, "[") {
		network = "tcp6" // and not both, which would take the port from the IPv4 listener
	}
	err := in.run(uid, func() (err error) {
		l, err = net.Listen(network, addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, say(c))
			c.Close()
		}
	}()
}

// ask connects from the namespace as the user and returns the line it is told, or "refused".
func ask(in *netns, uid int, source, addr string) (string, error) {
	d := net.Dialer{Timeout: 3 * time.Second}
	if source != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
	}
	var c net.Conn
	err := in.run(uid, func() (err error) {
		c, err = d.Dial("tcp", addr)
		return err
	})
	if err != nil {
		if strings.Contains(err.Error(), "refused") {
			return "refused", nil
		}
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(3 * time.Second))
	b := make([]byte, 200)
	n, err := c.Read(b)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b[:n])), nil
}

// originalDestination is where the client meant to go before the redirection.
func originalDestination(c net.Conn) string {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err.Error()
	}
	v4 := c.LocalAddr().(*net.TCPAddr).IP.To4() != nil
	said := ""
	raw.Control(func(fd uintptr) {
		const soOriginalDst = 80
		var sa [28]byte // sockaddr_in or sockaddr_in6
		size := uint32(len(sa))
		level := uintptr(unix.SOL_IP)
		if !v4 {
			level = unix.SOL_IPV6
		}
		_, _, e := syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, level, soOriginalDst, uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)), 0)
		if e != 0 {
			said = "itself" // not redirected
			return
		}
		port := uint16(sa[2])<<8 | uint16(sa[3])
		addr := netip.AddrFrom4([4]byte(sa[4:8]))
		if !v4 {
			addr = netip.AddrFrom16([16]byte(sa[8:24]))
		}
		said = netip.AddrPortFrom(addr, port).String()
	})
	return said
}

// withoutNetAdmin runs f on this thread without the capability.
func withoutNetAdmin(t *testing.T, f func() error) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var had, fewer [2]unix.CapUserData
	if err := unix.Capget(&hdr, &had[0]); err != nil {
		return err
	}
	fewer = had
	fewer[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	if err := unix.Capset(&hdr, &fewer[0]); err != nil {
		return err
	}
	defer func() {
		if err := unix.Capset(&hdr, &had[0]); err != nil {
			t.Error(err)
		}
	}()
	return f()
}
