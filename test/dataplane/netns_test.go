// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dataplane

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// space is a thread with a network and a mount namespace of its own. What is opened or started in it
// stays in it, wherever it is used later.
type space struct {
	do chan func()
	fd int // the network namespace
}

func newSpace(t *testing.T) *space {
	t.Helper()
	s := &space{do: make(chan func())}
	ready := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and what it started with it (Pdeathsig).
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
			ready <- fmt.Errorf("make namespaces (these tests need root): %w", err)
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			ready <- fmt.Errorf("make mounts private: %w", err)
			return
		}
		fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		s.fd = fd
		ready <- err
		for f := range s.do {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(s.do); unix.Close(s.fd) })
	return s
}

// in runs f inside as the user (for the sockets that f makes).
func (s *space) in(uid int, f func() error) error {
	done := make(chan error, 1)
	s.do <- func() {
		unix.SetfsuidRetUid(uid)
		defer unix.SetfsuidRetUid(0)
		done <- f()
	}
	return <-done
}

// dialer connects from inside as the user.
func (s *space) dialer(uid int) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		err = s.in(uid, func() error {
			var d net.Dialer
			c, err = d.DialContext(ctx, network, addr)
			return err
		})
		return c, err
	}
}

// listen listens inside as the user.
func (s *space) listen(uid int, addr string) (l net.Listener, err error) {
	err = s.in(uid, func() error {
		l, err = net.Listen("tcp4", addr)
		return err
	})
	return l, err
}

const (
	podIP  = "198.18.20.2"
	peerIP = "198.18.20.1"
	vip    = "198.19.0.80" // of the Service web, port 80
)

// cable joins a peer and a pod.
func cable(t *testing.T, peer, pod *space) {
	t.Helper()
	up := func(name string, addrs ...string) error {
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
				return fmt.Errorf("add %s: %w", a, err)
			}
		}
		return netlink.LinkSetUp(l)
	}
	err := peer.in(0, func() error {
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(pod.fd)}
		if err := netlink.LinkAdd(v); err != nil {
			return err
		}
		if err := up("lo"); err != nil {
			return err
		}
		return up("eth0", peerIP+"/24")
	})
	if err != nil {
		t.Fatalf("network of the peer: %v", err)
	}
	err = pod.in(0, func() error {
		if err := up("lo"); err != nil {
			return err
		}
		if err := up("eth0", podIP+"/24"); err != nil {
			return err
		}
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.ParseIP(peerIP)})
	})
	if err != nil {
		t.Fatalf("network of the pod: %v", err)
	}
}
