// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// Names of the agent's listening sockets, see protocol.Listeners.
const (
	agentListener = "agent"
	readyListener = "ready"
)

// openListeners gets the agent's listening sockets: from the agent of the other slot if there is one,
// so that no connection meets a closed port, else from the kernel.
func openListeners(peer string) (map[string]net.Listener, error) {
	got, err := takeListeners(peer)
	if err != nil {
		got = map[string]net.Listener{}
	}
	// Should the other agent still have the port and not give it away, both listen for a while.
	shared := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); e != nil { //nolint:gosec // a descriptor
			return e
		}
		return err
	}}
	for name, port := range map[string]int{agentListener: names.PortAgent, readyListener: names.PortReady} {
		if got[name] != nil {
			continue
		}
		l, err := shared.Listen(context.Background(), "tcp", ":"+strconv.Itoa(port))
		if err != nil {
			for _, l := range got {
				l.Close()
			}
			return nil, fmt.Errorf("open the agent's port: %w", err)
		}
		got[name] = l
	}
	return got, nil
}

// takeListeners asks the agent at the socket for its listening sockets.
func takeListeners(socket string) (map[string]net.Listener, error) {
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	u := c.(*net.UnixConn)
	u.SetDeadline(time.Now().Add(2 * time.Second)) //nolint:errcheck // shows at the read
	buf, oob := make([]byte, 4096), make([]byte, 256)
	n, oobn, _, _, err := u.ReadMsgUnix(buf, oob)
	if err != nil {
		return nil, fmt.Errorf("take over the listening sockets: %w", err)
	}
	var fds []int
	messages, err := syscall.ParseSocketControlMessage(oob[:oobn])
	if err == nil && len(messages) == 1 {
		fds, err = syscall.ParseUnixRights(&messages[0])
	}
	if err != nil {
		return nil, fmt.Errorf("take over the listening sockets: %w", err)
	}
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		syscall.CloseOnExec(fd)
		files[i] = os.NewFile(uintptr(fd), "listener") //nolint:gosec // a descriptor
		defer files[i].Close()                         // the listener has its own
	}
	named, err := offered(buf[:n], len(files))
	if err != nil {
		return nil, fmt.Errorf("take over the listening sockets: %w", err)
	}
	got := map[string]net.Listener{}
	for i, name := range named {
		l, err := net.FileListener(files[i])
		if err != nil {
			for _, l := range got {
				l.Close()
			}
			return nil, fmt.Errorf("take over the socket %q: %w", name, err)
		}
		got[name] = l
	}
	return got, nil
}

// offered returns the names of the sockets that came with another agent's message, in their order.
func offered(message []byte, sockets int) ([]string, error) {
	var said protocol.Listeners
	if err := json.Unmarshal(message, &said); err != nil {
		return nil, errors.New("the other agent's message is not understood")
	}
	if len(said.Names) != sockets {
		return nil, fmt.Errorf("the other agent sent %d sockets and named %d", sockets, len(said.Names))
	}
	for i, name := range said.Names {
		if slices.Contains(said.Names[:i], name) {
			return nil, fmt.Errorf("the other agent sent the socket %q twice", name)
		}
	}
	return said.Names, nil
}

// offerListeners gives the sockets to whichever agent asks, until the returned function is called.
// This agent goes on accepting on them too until it closes them.
func offerListeners(socket string, have map[string]net.Listener) (func(), error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("offer the listening sockets: %w", err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("offer the listening sockets: %w", err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			// The taker sees a failure as a connection without a message, and opens its own.
			_ = give(c.(*net.UnixConn), have)
			c.Close()
		}
	}()
	return func() { l.Close() }, nil
}

func give(c *net.UnixConn, have map[string]net.Listener) error {
	var said protocol.Listeners
	var fds []int
	for name, l := range have {
		raw, err := l.(*net.TCPListener).SyscallConn()
		if err != nil {
			return err
		}
		// Not by os.File, whose Fd would make the shared socket a blocking one.
		fd, dupErr := -1, error(nil)
		if err := raw.Control(func(own uintptr) { fd, dupErr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
			return err
		}
		if dupErr != nil {
			return dupErr
		}
		defer unix.Close(fd)
		said.Names = append(said.Names, name)
		fds = append(fds, fd)
	}
	b, err := json.Marshal(said)
	if err != nil {
		return err
	}
	_, _, err = c.WriteMsgUnix(b, syscall.UnixRights(fds...), nil)
	return err
}
