// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"net"
	"syscall"
	"time"
)

// unacknowledged is how long what was sent may stay without an acknowledgement by the other side's kernel.
const unacknowledged = 10 * time.Second

// userTimeout is TCP_USER_TIMEOUT, see tcp(7).
const userTimeout = 18

// limitUnacknowledged has the kernel give up a client that does not take what was sent, also after the connection
// was closed here.
func limitUnacknowledged(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	if rc, err := tcp.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) { // without it, keepalive notices the same later
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, userTimeout, int(unacknowledged.Milliseconds()))
		})
	}
}
