// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package steer

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// group are the sockets that listen on one address.
type group struct {
	addr netip.AddrPort
	// own counts the sockets of the process, others all the rest.
	own, others int
}

// groups finds the groups that the process has sockets in.
func groups(pid int) ([]group, error) {
	own, err := sockets(pid)
	if err != nil {
		return nil, err
	}
	all := map[netip.AddrPort]*group{}
	for _, name := range []string{"tcp", "tcp6"} {
		f, err := os.Open("/proc/net/" + name)
		if os.IsNotExist(err) {
			continue // no IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("list listening sockets: %w", err)
		}
		err = listening(f, func(addr netip.AddrPort, inode string) {
			g := all[addr]
			if g == nil {
				g = &group{addr: addr}
				all[addr] = g
			}
			if own[inode] {
				g.own++
			} else {
				g.others++
			}
		})
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("list listening sockets: %w", err)
		}
	}
	var out []group
	for _, g := range all {
		if g.own > 0 {
			out = append(out, *g)
		}
	}
	slices.SortFunc(out, func(a, b group) int { return a.addr.Compare(b.addr) })
	return out, nil
}

// sockets are the inodes of the sockets that a process has open.
func sockets(pid int) (map[string]bool, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list sockets of process %d: %w", pid, err)
	}
	out := map[string]bool{}
	for _, fd := range fds {
		link, err := os.Readlink(filepath.Join(dir, fd.Name()))
		if err != nil {
			continue // closed in the meantime
		}
		if inode, ok := strings.CutPrefix(link, "socket:["); ok {
			out[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return out, nil
}

// listening reads a table like /proc/net/tcp and calls f for each socket in state LISTEN.
func listening(table io.Reader, f func(addr netip.AddrPort, inode string)) error {
	const stateListen = "0A"
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		v := strings.Fields(lines.Text())
		if len(v) < 10 || v[3] != stateListen {
			continue
		}
		addr, err := parseAddr(v[1])
		if err != nil {
			return err
		}
		f(addr, v[9])
	}
	return lines.Err()
}

// parseAddr reads ADDRESS:PORT in hexadecimal; the address is in words of four bytes, each in the
// machine's order (little-endian everywhere that Envoy is built for).
func parseAddr(s string) (netip.AddrPort, error) {
	h, p, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(h)
	if err != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("address %q is not understood", s)
	}
	for i := 0; i < len(b); i += 4 {
		slices.Reverse(b[i : i+4])
	}
	addr, ok := netip.AddrFromSlice(b)
	port, err := strconv.ParseUint(p, 16, 16)
	if !ok || err != nil {
		return netip.AddrPort{}, fmt.Errorf("address %q is not understood", s)
	}
	return netip.AddrPortFrom(addr, uint16(port)), nil
}
