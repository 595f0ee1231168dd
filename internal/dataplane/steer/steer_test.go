// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package steer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// The test's own program is also the server whose sockets are moved: with the variable set it
// listens on the address with two sockets until its input ends, and answers each connection with its name.
const serverEnv = "TULLE_STEER_SERVER"

func TestMain(m *testing.M) {
	if v := os.Getenv(serverEnv); v != "" {
		name, addr, _ := strings.Cut(v, "@")
		serve(name, addr)
		return
	}
	os.Exit(m.Run())
}

func serve(name, addr string) {
	network := "tcp4"
	if strings.HasPrefix(addr, "[") {
		network = "tcp6"
	}
	var answering sync.WaitGroup
	var listeners []net.Listener
	for range 2 {
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) {
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			})
		}}
		l, err := lc.Listen(context.Background(), network, addr)
		if err != nil {
			fmt.Println("cannot listen:", err)
			os.Exit(1)
		}
		listeners = append(listeners, l)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				answering.Add(1)
				go func() {
					defer answering.Done()
					defer c.Close()
					bufio.NewReader(c).ReadString('\n')
					io.WriteString(c, name)
				}()
			}
		}()
	}
	fmt.Println("listening")
	io.Copy(io.Discard, os.Stdin)
	for _, l := range listeners {
		l.Close()
	}
	answering.Wait()
}

// server starts one; stop closes its sockets and waits until it has answered.
func server(t *testing.T, name, addr string) (pid int, stop func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverEnv+"="+name+"@"+addr)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "listening\n" {
		t.Fatalf("server %s: %q, %v", name, line, err)
	}
	once := sync.OnceFunc(func() { in.Close(); cmd.Wait() })
	t.Cleanup(once)
	return cmd.Process.Pid, once
}

func ask(addr string) (string, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, "\n"); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	if err == nil && len(b) == 0 {
		err = io.ErrUnexpectedEOF
	}
	return string(b), err
}

// free finds a port that nobody listens on.
func free(t *testing.T, host string) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestTake replaces a server again and again under load: from Take on the new one gets all, and no
// connection is lost.
func TestTake(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			addr, lock := free(t, host), filepath.Join(t.TempDir(), "lock")
			pid, stop := server(t, "0", addr)
			if done, err := Release(pid, lock); !done || err != nil {
				t.Errorf("Release without Take: %v, %v", done, err)
			}
			var sent, failed atomic.Int64
			var first atomic.Value
			quit := make(chan struct{})
			var load sync.WaitGroup
			for range 2 {
				load.Go(func() {
					for {
						select {
						case <-quit:
							return
						case <-time.After(2 * time.Millisecond):
						}
						sent.Add(1)
						if _, err := ask(addr); err != nil {
							failed.Add(1)
							first.CompareAndSwap(nil, err.Error())
						}
					}
				})
			}
			for n := range 3 {
				name := fmt.Sprint(n + 1)
				newPID, newStop := server(t, name, addr)
				if err := Take(newPID, lock); err != nil {
					t.Fatal(err)
				}
				for range 20 {
					if got, err := ask(addr); err != nil || got != name {
						t.Fatalf("after Take server %q answered, %v; want %q", got, err, name)
					}
				}
				// However fast the machine is, each replacement meets connections.
				for enough := sent.Load() + 40; sent.Load() < enough; {
					time.Sleep(time.Millisecond)
				}
				if done, err := Release(newPID, lock); done || err != nil {
					t.Fatalf("Release while the old server listens: %v, %v", done, err)
				}
				stop()
				if done, err := Release(newPID, lock); !done || err != nil {
					t.Fatalf("Release: %v, %v", done, err)
				}
				stop = newStop
			}
			close(quit)
			load.Wait()
			if failed.Load() > 0 {
				t.Errorf("%d of %d connections failed, the first: %v", failed.Load(), sent.Load(), first.Load())
			}
		})
	}
}

func TestListening(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:3A99 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1337        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0212C612:1F90 0112C612:C350 01 00000000:00000000 00:00000000 00000000  1337        0 4712 1 0000000000000000 20 4 30 10 -1
   2: 000000FD000000000000000001000000:3A9E 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1337        0 4713 1 0000000000000000 100 0 0 10 0
`
	got := map[string]netip.AddrPort{}
	if err := listening(strings.NewReader(table), func(a netip.AddrPort, inode string) { got[inode] = a }); err != nil {
		t.Fatal(err)
	}
	want := map[string]netip.AddrPort{"4711": netip.MustParseAddrPort("127.0.0.1:15001"), "4713": netip.MustParseAddrPort("[fd00::1]:15006")}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if err := listening(strings.NewReader("0: XX:1 Y 0A 0 0 0 0 0 0 1\n"), func(netip.AddrPort, string) {}); err == nil {
		t.Error("garbage was understood")
	}
}
