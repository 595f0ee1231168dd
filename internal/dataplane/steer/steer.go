// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package steer

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Take makes all new connections come to the process, which listens already, and none to the
// others that listen on the same addresses. Where there are no others it changes nothing. lock is a
// file that whoever steers on these addresses locks meanwhile: what is seen must still be so when it
// is acted upon.
func Take(pid int, lock string) error {
	unlock, err := hold(lock)
	if err != nil {
		return err
	}
	defer unlock()
	all, err := groups(pid)
	if err != nil {
		return err
	}
	for _, g := range all {
		if g.others == 0 {
			continue
		}
		// The others came first, so the process's own begin where theirs end. One of its own gets all
		// until the others have gone: their leaving moves the last socket of the group into the gap,
		// and of all indices only this one is the process's own till the end, when it falls out of
		// range and the kernel spreads connections again.
		if err := join(g, func(fd int) error { return choose(fd, g.others) }); err != nil {
			return fmt.Errorf("steer connections to %s: %w", g.addr, err)
		}
	}
	return nil
}

// Release ends what Take did, once the others have gone; done tells whether they have. It may be
// called without Take.
func Release(pid int, lock string) (done bool, err error) {
	unlock, err := hold(lock)
	if err != nil {
		return false, err
	}
	defer unlock()
	all, err := groups(pid)
	if err != nil {
		return false, err
	}
	for _, g := range all {
		if g.others > 0 {
			return false, nil
		}
	}
	for _, g := range all {
		if err := join(g, forget); err != nil {
			return false, fmt.Errorf("stop steering connections to %s: %w", g.addr, err)
		}
	}
	return true, nil
}

// patience is how long the other agent may take; it looks and acts within milliseconds.
const patience = 2 * time.Second

// hold locks the file until the returned function is called.
func hold(lock string) (func(), error) {
	f, err := os.OpenFile(lock, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the sockets: %w", err)
	}
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) //nolint:gosec // a descriptor
		if err == nil {
			return func() { f.Close() }, nil
		}
		// A stopped agent must not stop this one.
		if time.Since(began) > patience {
			f.Close()
			return nil, fmt.Errorf("lock the sockets: %w", err)
		}
	}
}

// join adds a socket to the group for as long as f runs. It accepts nothing: it wants a hop count that
// packets don't have, so the kernel drops what it sends to it, and the client repeats it a second
// later, when another socket gets it.
func join(g group, f func(fd int) error) error {
	family, level, minimum := unix.AF_INET, unix.IPPROTO_IP, unix.IP_MINTTL
	if g.addr.Addr().Is6() {
		family, level, minimum = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	steps := []struct {
		name string
		do   func() error
	}{
		{"share the address", func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }},
		{"drop what comes", func() error { return unix.SetsockoptInt(fd, level, minimum, 255) }},
		{"bind", func() error { return bind(fd, g) }},
		{"listen", func() error { return unix.Listen(fd, 1) }},
		{"set the program", func() error { return f(fd) }},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func bind(fd int, g group) error {
	port := int(g.addr.Port())
	if g.addr.Addr().Is4() {
		return unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: g.addr.Addr().As4()})
	}
	// As Envoy does, which has IPv4 listeners apart.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrInet6{Port: port, Addr: g.addr.Addr().As16()})
}

// choose sets the program of the group: always the socket of that index.
func choose(fd, index int) error {
	program := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: uint32(index)}} //nolint:gosec // a small count
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &unix.SockFprog{Len: 1, Filter: &program[0]})
}

// forget takes the program away, if there is one.
func forget(fd int) error {
	const soDetachReuseportBPF = 68
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, soDetachReuseportBPF, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
