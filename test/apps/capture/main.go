// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Command capture listens to every packet of the network namespace it runs in
// and counts those that contain a marker. It ends by itself and prints one
// line: "packets N bytes N found N". It needs CAP_NET_RAW; on a node, run it with hostNetwork.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	marker := flag.String("marker", "", "bytes to look for in the payload of packets")
	wait := flag.Duration("duration", 10*time.Second, "how long to listen")
	flag.Parse()
	if *marker == "" {
		fmt.Fprintln(os.Stderr, "capture: -marker is needed")
		os.Exit(2)
	}
	if err := run([]byte(*marker), *wait); err != nil {
		fmt.Fprintln(os.Stderr, "capture:", err)
		os.Exit(1)
	}
}

func run(marker []byte, wait time.Duration) error {
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // network byte order
	s, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	if err != nil {
		return fmt.Errorf("open packet socket: %w", err)
	}
	defer func() { _ = unix.Close(s) }()
	if err := unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20); err != nil {
		// Without CAP_NET_ADMIN the limit of the machine holds; what is lost shows in the count of packets.
		_ = unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RCVBUF, 64<<20)
	}
	if err := unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000}); err != nil {
		return fmt.Errorf("set timeout: %w", err)
	}
	fmt.Println("listening")
	packets, size, found := 0, 0, 0
	buf := make([]byte, 1<<17)
	for end := time.Now().Add(wait); time.Now().Before(end); {
		n, _, err := unix.Recvfrom(s, buf, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		packets, size = packets+1, size+n
		if bytes.Contains(buf[:n], marker) {
			found++
		}
	}
	fmt.Printf("packets %d bytes %d found %d\n", packets, size, found)
	return nil
}
