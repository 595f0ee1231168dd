// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dataplane

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// TestEnding ends the pod in the kubelet's order: the preStop hooks of all containers at once, the
// application's SIGTERM, and when it has gone the slots' SIGTERM.
func TestEnding(t *testing.T) {
	p := newPod(t)
	p.start("a")
	p.hook("a", "wait")
	p.start("b")
	p.eventually("slot b is the standby", 5*time.Second, p.phase("b", protocol.PhaseStandby))
	l := newLoad(p)
	l.during(500)
	p.hook("b", "drain")
	p.hook("a", "drain")
	// Clients are sent away, while whoever still comes is served.
	kept := client(p.peer, 0, true)
	p.eventually("clients are told to close", 5*time.Second, func() bool {
		r, err := kept.Get(fromPeer)
		if err != nil {
			t.Error(err)
			return true
		}
		defer r.Body.Close()
		io.Copy(io.Discard, r.Body)
		return r.Close
	})
	p.eventually("readiness says so", 5*time.Second, func() bool { return !p.serving() })
	l.during(500)
	l.stop(t) // the endpoint has gone everywhere
	// A slow client is in the middle of a big answer when the application ends.
	slow, size := p.download(t)
	p.app.Close()
	p.app = nil
	began := time.Now()
	for _, c := range p.slots {
		c.Process.Signal(syscall.SIGTERM)
	}
	if n, err := slow(); err != nil || n != size {
		t.Errorf("the slow client got %d of %d bytes, %v", n, size, err)
	}
	for slot, c := range p.slots {
		if err := c.Wait(); err != nil {
			t.Errorf("slot %s: %v", slot, err)
		}
	}
	t.Logf("the slots ended %v after SIGTERM", time.Since(began))
	// A new connection is refused rather than accepted and then dropped: peers try another pod.
	if _, err := p.peer.dialer(0)(t.Context(), "tcp", podIP+":8080"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a connection to the ended pod: %v, want it refused", err)
	}
}

// download begins a big answer of the application and returns the rest of it, which takes a second to read.
func (p *pod) download(t *testing.T) (rest func() (int, error), size int) {
	t.Helper()
	size = 400 << 10 // fits into the proxy's buffers, so that the application can end
	body := strings.Repeat("x", size)
	sent := make(chan struct{})
	p.app.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(size))
		io.WriteString(w, body)
		w.(http.Flusher).Flush()
		close(sent)
	})
	var c net.Conn
	err := p.peer.in(0, func() (err error) {
		d := net.Dialer{Timeout: time.Second, Control: func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
		}}
		c, err = d.Dial("tcp", podIP+":8080")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "GET /big HTTP/1.1\r\nHost: app\r\n\r\n")
	head := make([]byte, 1024)
	n, err := c.Read(head)
	if err != nil {
		t.Fatal(err)
	}
	<-sent
	_, got, _ := strings.Cut(string(head[:n]), "\r\n\r\n")
	return func() (int, error) {
		defer c.Close()
		total := len(got)
		buf := make([]byte, 16<<10)
		for total < size {
			n, err := c.Read(buf)
			total += n
			if err != nil {
				return total, err
			}
			time.Sleep(8 * time.Millisecond)
		}
		return total, nil
	}, size
}

// TestHold ends the ordinary container of a gateway's pod.
func TestHold(t *testing.T) {
	p := newPod(t)
	p.start("a")
	p.hook("a", "wait")
	// Not from outside: that would be a way to end the service of any pod.
	r, err := client(p.peer, 0, false).Get("http://" + podIP + ":15020" + protocol.HoldPath)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusForbidden || !p.serving() {
		t.Errorf("hold from outside: %s, serving %v; want 403 and no effect", r.Status, p.serving())
	}
	c := p.container(names.ProxyUID, protocol.SlotCommand, "hold")
	c.Stdout, c.Stderr = p.log, p.log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	p.eventually("hold waits for its signal", 5*time.Second, func() bool {
		return catches(t, c.Process.Pid, syscall.SIGTERM)
	})
	l := newLoad(p)
	l.during(100)
	began := time.Now()
	c.Process.Signal(syscall.SIGTERM)
	l.during(800)
	l.stop(t)
	quiet := time.Now()
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); time.Since(quiet) < 500*time.Millisecond || took < 2*time.Second || took > 12*time.Second {
		t.Errorf("hold ended %v after SIGTERM, %v after the last request; want at least 2 s and 1 s", took, time.Since(quiet))
	}
}

// catches reads whether a process has a handler for the signal.
func catches(t *testing.T, pid int, sig syscall.Signal) bool {
	t.Helper()
	for _, line := range strings.Split(readProc(t, pid, "status"), "\n") {
		if hex, ok := strings.CutPrefix(line, "SigCgt:"); ok {
			mask, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return err == nil && mask&(1<<(uint(sig)-1)) != 0
		}
	}
	return false
}

// TestLoadNotices is the counter-proof of the tests that find no failed request: the same load, and an
// Envoy that ends without any of this.
func TestLoadNotices(t *testing.T) {
	p := newPod(t)
	p.start("a")
	p.hook("a", "wait")
	l := newLoad(p)
	l.during(200)
	p.killEnvoy("a")
	l.end()
	if l.failed.Load() == 0 {
		t.Errorf("Envoy was killed and none of %d requests failed", l.sent.Load())
	}
}
