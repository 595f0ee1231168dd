// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// probeToken is the random part of the paths of probes.
const probeToken = "000102030405060708090a0b0c0d0e0f"

// from is a client in the peer's namespace with an address of its own, which makes a connection for each
// request, as the kubelet and Prometheus do.
func (p *pod) from(addr string, timeout time.Duration) *http.Client {
	p.t.Helper()
	err := p.peer.in(0, func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		a, err := netlink.ParseAddr(addr + "/24")
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(l, a); err != nil && !errors.Is(err, syscall.EEXIST) {
			return err
		}
		return nil
	})
	if err != nil {
		p.t.Fatalf("add address %s to the peer: %v", addr, err)
	}
	dial := func(ctx context.Context, network, to string) (c net.Conn, err error) {
		err = p.peer.in(0, func() error {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
			c, err = d.DialContext(ctx, network, to)
			return err
		})
		return c, err
	}
	return &http.Client{Timeout: timeout, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
}

// status asks and reads the whole answer.
func status(c *http.Client, url string) (code int, body string, err error) {
	r, err := c.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return r.StatusCode, string(b), err
}

const (
	agentURL = "http://" + podIP + ":15020"
	readyURL = "http://" + podIP + ":15021/ready"
)

// TestStrangersRunNoHooks: a client that has not read the pod cannot run its hooks and probes: it would have to
// guess a path. What the kubelet asks for, which it reads in the pod, runs. Of a hook nobody sees the answer.
func TestStrangersRunNoHooks(t *testing.T) {
	p := newPod(t)
	stop, live := protocol.ProbePath(probeToken, "app", "preStop"), protocol.ProbePath(probeToken, "app", "liveness")
	old := protocol.GuessablePath("old", "readiness")
	p.extra = []string{protocol.EnvProbes + `={` +
		`"` + stop + `":{"http":{"port":8080,"path":"/stop","headers":[["Authorization","secret"]]},"timeoutSeconds":3600},` +
		`"` + live + `":{"http":{"port":8080,"path":"/live"}},` +
		`"` + old + `":{"http":{"port":8080,"path":"/old"}}}`}
	var hits sync.Map
	p.app.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := hits.LoadOrStore(r.URL.Path, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		fmt.Fprintln(w, "words of the application")
	})
	count := func(path string) int64 {
		n, ok := hits.Load(path)
		if !ok {
			return 0
		}
		return n.(*atomic.Int64).Load()
	}
	p.start("a")
	p.hook("a", "wait")
	stranger := p.from("198.18.20.66", 5*time.Second)
	for _, path := range []string{
		protocol.GuessablePath("app", "preStop"), protocol.GuessablePath("app", "liveness"), protocol.GuessablePath("app", "postStart"),
		protocol.ProbePath(strings.Repeat("0", 32), "app", "preStop"), protocol.ProbePath("*", "app", "preStop"),
		"/probe//app/preStop", "/probe/./app/preStop", "/probe/%2e/app/preStop", "/probe/?/app/preStop", "/probe/", "/probe",
		stop[:len(stop)-1], stop + "/", strings.ToUpper(stop), "/metrics/.." + protocol.GuessablePath("app", "preStop"), "/health/../probe/app/preStop",
	} {
		code, body, err := status(stranger, agentURL+path)
		if err != nil || code != http.StatusNotFound || strings.Contains(body, probeToken) || strings.Contains(body, "words") {
			t.Errorf("a stranger asks for %s: %d %q %v, want 404", path, code, body, err)
		}
	}
	for _, path := range []string{"/stop", "/live"} {
		if n := count(path); n != 0 {
			t.Errorf("the application got %d requests for %s from strangers", n, path)
		}
	}
	if code, body, err := status(p.from("198.18.20.3", 5*time.Second), agentURL+stop); code != http.StatusOK || body != "" || count("/stop") != 1 {
		t.Errorf("the kubelet runs the hook: %d %q %v, and the application got %d requests", code, body, err, count("/stop"))
	}
	for path, at := range map[string]string{live: "/live", old: "/old"} { // old: as an earlier release recorded it
		if code, body, err := status(stranger, agentURL+path); code != http.StatusOK || !strings.Contains(body, "words") || count(at) != 1 {
			t.Errorf("the kubelet probes %s: %d %q %v, and the application got %d requests", path, code, body, err, count(at))
		}
	}
}

// TestFloodOfScrapes: for 20 s, 50 strangers scrape without a pause, and others hold as many connections as they
// can. The pod stays ready, the kubelet's probes and Prometheus are answered, Envoy answers, and what is
// rendered does not depend on how many ask.
func TestFloodOfScrapes(t *testing.T) {
	const length, strangers = 20 * time.Second, 50
	p := newPod(t)
	live := protocol.ProbePath(probeToken, "app", "liveness")
	p.extra = []string{
		protocol.EnvProbes + `={"` + live + `":{"http":{"port":8080,"path":"/live"},"timeoutSeconds":5}}`,
		protocol.EnvMetrics + `={"port":8080,"path":"/metrics"}`,
	}
	var renderings atomic.Int64
	p.app.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			renderings.Add(1)
			fmt.Fprintln(w, "app_requests 5")
		}
	})
	p.start("a")
	p.hook("a", "wait")
	p.eventually("it is ready", 10*time.Second, p.phase("a", protocol.PhaseReady))
	stranger, kubelet, prometheus := p.from("198.18.20.66", 10*time.Second), p.from("198.18.20.3", 5*time.Second), p.from("198.18.20.4", 10*time.Second)

	var slow []*http.Client // of other addresses, that read nothing
	for i := range 20 {
		slow = append(slow, p.from(fmt.Sprintf("198.18.20.%d", 100+i), 10*time.Second))
	}

	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var flood, needed sync.WaitGroup
	var scrapes, held atomic.Int64
	for i := range strangers {
		flood.Go(func() {
			for ctx.Err() == nil {
				if code, _, err := status(stranger, agentURL+"/metrics"); err == nil && code == http.StatusOK {
					scrapes.Add(1)
				}
			}
		})
		flood.Go(func() { // holds what it gets, of both ports, and says half of something or nothing
			const most = 10
			var open []net.Conn
			defer func() {
				for _, c := range open {
					c.Close()
				}
			}()
			for ctx.Err() == nil {
				port := []string{":15020", ":15021"}[i%2]
				c, err := []*http.Client{stranger, slow[i%len(slow)]}[i/2%2].Transport.(*http.Transport).DialContext(ctx, "tcp", podIP+port)
				if err != nil {
					continue
				}
				_ = c.(*net.TCPConn).SetReadBuffer(1)
				held.Add(1)
				fmt.Fprint(c, []string{"", "GET /metrics HT", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"}[i%3])
				if open = append(open, c); len(open) > most {
					open[0].Close()
					open = open[1:]
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	ask := func(what string, every time.Duration, f func() error) {
		needed.Go(func() {
			n := 0
			for ctx.Err() == nil {
				began := time.Now()
				if err := f(); err != nil {
					t.Errorf("%s, %d times answered before: %v after %v", what, n, err, time.Since(began))
					return
				}
				n++
				time.Sleep(every)
			}
			if n < 10 {
				t.Errorf("%s was answered only %d times", what, n)
			}
		})
	}
	ok := func(c *http.Client, url, want string) func() error {
		return func() error {
			code, body, err := status(c, url)
			if err == nil && (code != http.StatusOK || !strings.Contains(body, want)) {
				err = fmt.Errorf("%d %.200q", code, body)
			}
			return err
		}
	}
	ask("the kubelet's readiness probe of a gateway", 100*time.Millisecond, ok(kubelet, readyURL, ""))
	ask("the kubelet's probe of the application", 100*time.Millisecond, ok(kubelet, agentURL+live, ""))
	ask("Prometheus", time.Second, ok(prometheus, agentURL+"/metrics", "envoy_server_live{} 1\n"))
	through := client(p.peer, 0, false)
	ask("a client of the application", 100*time.Millisecond, func() error { _, _, err := get(through, fromPeer, ""); return err })
	ask("the phase", 10*time.Millisecond, func() error {
		if s := p.state("a"); s.Phase != protocol.PhaseReady {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	needed.Wait()
	flood.Wait()
	t.Logf("%d scrapes of strangers were answered with %d renderings; %d connections were held or closed", scrapes.Load(), renderings.Load(), held.Load())
	if n := renderings.Load(); n < 5 || n > int64(length/time.Second)+2 {
		t.Errorf("%d renderings in %v", n, length)
	}
	if scrapes.Load() < strangers || held.Load() < strangers {
		t.Error("that was no flood")
	}
}

// TestKeysStayInMemory: another process of the proxy's user, as a container that shares the pod's process
// namespace can have, reads nothing of the agent, and neither agent nor Envoy leaves a core file.
func TestKeysStayInMemory(t *testing.T) {
	p := newPod(t)
	p.start("a")
	p.hook("a", "wait")
	agent := p.agentPID("a")
	read := func(pid int, file string) error {
		c := exec.CommandContext(t.Context(), "cat", fmt.Sprintf("/proc/%d/%s", pid, file))
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: names.ProxyUID, Gid: names.ProxyUID}}
		return c.Run()
	}
	if err := read(agent, "status"); err != nil {
		t.Fatalf("what everybody may read: %v", err)
	}
	for _, file := range []string{"environ", "maps", "auxv"} {
		if err := read(agent, file); err == nil {
			t.Errorf("another process of the same user reads %s of the agent", file)
		}
	}
	for what, pid := range map[string]int{"the agent": agent, "Envoy": p.envoyPID("a")} {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(limits)) {
			if rest, ok := strings.CutPrefix(line, "Max core file size"); ok && strings.Join(strings.Fields(rest), " ") != "0 0 bytes" {
				t.Errorf("%s: %s", what, line)
			}
		}
	}
}
