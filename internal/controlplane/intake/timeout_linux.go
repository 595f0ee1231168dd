// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package intake

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// unacknowledged is how long what was sent may stay without an acknowledgement by the other side's kernel.
const unacknowledged = 10 * time.Second

// limitUnacknowledged sets what gRPC sets on connections that it gets from the system.
func limitUnacknowledged(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	if rc, err := tcp.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) { // without it, keepalive notices the same later
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unacknowledged.Milliseconds()))
		})
	}
}
