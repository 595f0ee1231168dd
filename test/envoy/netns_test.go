// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tulle.dev/tulle/internal/dataplane/redirect"
)

// netns is a network namespace. What is opened inside stays inside, wherever it is used later.
type netns struct{ fd int }

// newNetns makes a namespace that ends with the test.
func newNetns(t *testing.T) *netns {
	t.Helper()
	made := make(chan *netns)
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is of no use to others any more
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			failed <- fmt.Errorf("make a network namespace (these tests need root): %w", err)
			return
		}
		fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			failed <- err
			return
		}
		made <- &netns{fd: fd}
	}()
	select {
	case n := <-made:
		t.Cleanup(func() { unix.Close(n.fd) })
		if err := n.in(func() error { return up("lo") }); err != nil {
			t.Fatal(err)
		}
		return n
	case err := <-failed:
		t.Fatal(err)
		return nil
	}
}

// in runs f on a thread inside the namespace.
func (n *netns) in(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // ends with the goroutine
		if err := unix.Setns(n.fd, unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// dial connects from inside.
func (n *netns) dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	err = n.in(func() error {
		var d net.Dialer
		c, err = d.DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// listen listens inside until the test ends.
func (n *netns) listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	var l net.Listener
	if err := n.in(func() (err error) {
		l, err = new(net.ListenConfig).Listen(t.Context(), "tcp4", addr)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func up(name string, addrs ...string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(l, addr); err != nil {
			return fmt.Errorf("add %s to %s: %w", a, name, err)
		}
	}
	return netlink.LinkSetUp(l)
}

// wire is a switch that pods are plugged into, in a namespace of its own.
type wire struct {
	ns    *netns
	ports int
}

func newWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{ns: newNetns(t)}
	err := w.ns.in(func() error {
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}); err != nil {
			return err
		}
		return up("br0", "198.18.9.1/24")
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// plug makes a pod's namespace with an address; whatever else is sent goes out to the wire.
// Redirected pods get the real rules.
func (w *wire) plug(t *testing.T, ip string, redirected bool) *netns {
	t.Helper()
	pod := newNetns(t)
	w.ports++
	port := fmt.Sprintf("port%d", w.ports)
	err := w.ns.in(func() error {
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: port}, PeerName: "eth0", PeerNamespace: netlink.NsFd(pod.fd)}
		if err := netlink.LinkAdd(v); err != nil {
			return err
		}
		l, err := netlink.LinkByName(port)
		if err != nil {
			return err
		}
		bridge, err := netlink.LinkByName("br0")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetMaster(l, bridge); err != nil {
			return err
		}
		return up(port)
	})
	if err != nil {
		t.Fatal(err)
	}
	err = pod.in(func() error {
		if err := up("eth0", ip+"/24"); err != nil {
			return err
		}
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.ParseIP("198.18.9.1")}); err != nil {
			return err
		}
		if !redirected {
			return nil
		}
		return redirect.Apply(redirect.Rules(redirect.Config{}))
	})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}
