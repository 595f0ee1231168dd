// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dataplane

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// pod is the pod shop/cart-0 with its two slots, an application on port 8080, and a peer.
type pod struct {
	t         *testing.T
	space     *space
	peer      *space
	control   *control
	root      string            // of the containers
	older     string            // root of those of the previous release; empty: there is none
	roots     map[string]string // of slots whose root is another
	run       string            // what they see as protocol.RunDir
	host      string            // of the control plane, as the slots know it
	secrets   string
	app       *http.Server
	slots     map[string]*exec.Cmd
	extra     []string // environment
	log       *lockedBuffer
	closing   atomic.Bool // the peer's server closes each connection after a request
	seenByWeb set         // serial numbers of certificates that the peer's server saw
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// set is a set of strings for several goroutines.
type set struct {
	mu sync.Mutex
	m  map[string]bool
}

func (s *set) add(x string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[string]bool{}
	}
	s.m[x] = true
}

func (s *set) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.m)
}

// newPod makes the pod with its redirection and application, and the control plane. No slot runs yet.
func newPod(t *testing.T) *pod {
	t.Helper()
	p := &pod{
		t: t, space: newSpace(t), peer: newSpace(t), root: t.TempDir(), run: t.TempDir(), secrets: t.TempDir(),
		slots: map[string]*exec.Cmd{}, log: &lockedBuffer{}, host: peerIP,
	}
	t.Cleanup(p.end)
	cable(t, p.peer, p.space)
	p.control = newControl(t, p.peer)
	if err := os.Chmod(p.run, 0o777); err != nil {
		t.Fatal(err)
	}
	p.secret(protocol.TokenFile, "token-of-cart")
	p.secret(protocol.TrustFile, string(p.control.ca.pem))
	p.secret(protocol.AnnotationsFile, `app="cart"`)
	envoy := envoyBinary(t)
	if err := p.space.in(0, func() error { return image(p.root, binaries, envoy, p.run, p.secrets) }); err != nil {
		t.Fatal(err)
	}
	serveShop(t, p.control)
	p.control.start()
	p.serveApp()
	p.serveWeb()
	if out, err := p.container(0, "/tulle-proxy", "init").CombinedOutput(); err != nil {
		t.Fatalf("init: %v\n%s", err, out)
	}
	return p
}

// secret replaces a file that the kubelet keeps in the pod.
func (p *pod) secret(file, content string) {
	p.t.Helper()
	path := filepath.Join(p.secrets, strings.TrimPrefix(file, "/var/run/secrets/tulle.dev"))
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path+".new", []byte(content), 0o444)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// ofOlder makes containers of a slot that start from now on run the programs of the previous release, or those of
// this one again.
func (p *pod) ofOlder(slot string, is bool) {
	p.t.Helper()
	if p.older == "" {
		p.older, p.roots = p.t.TempDir(), map[string]string{}
		programs, envoy := olderBinaries(p.t), envoyBinary(p.t)
		if err := p.space.in(0, func() error { return image(p.older, programs, envoy, p.run, p.secrets) }); err != nil {
			p.t.Fatal(err)
		}
	}
	delete(p.roots, slot)
	if is {
		p.roots[slot] = p.older
	}
}

// container is a command in the image and in the pod's network. Start it from inside the space.
func (p *pod) container(uid uint32, argv ...string) *spaceCmd {
	c := &exec.Cmd{
		Path: argv[0], Args: argv, Dir: "/", Env: []string{},
		SysProcAttr: &syscall.SysProcAttr{Chroot: p.root, Credential: &syscall.Credential{Uid: uid, Gid: uid}, Pdeathsig: syscall.SIGKILL},
	}
	return &spaceCmd{c, p.space}
}

// spaceCmd is a command that is started inside a space.
type spaceCmd struct {
	*exec.Cmd
	space *space
}

func (c *spaceCmd) Start() error { return c.space.in(0, c.Cmd.Start) }

func (c *spaceCmd) CombinedOutput() ([]byte, error) {
	var b bytes.Buffer
	c.Stdout, c.Stderr = &b, &b
	if err := c.Start(); err != nil {
		return nil, err
	}
	err := c.Wait()
	return b.Bytes(), err
}

func (p *pod) env(slot string) []string {
	return append([]string{
		protocol.EnvSlot + "=" + slot, protocol.EnvKind + "=" + names.KindSidecar,
		protocol.EnvPod + "=cart-0", protocol.EnvPodUID + "=uid-1", protocol.EnvPodIPs + "=" + podIP,
		protocol.EnvNamespace + "=shop", protocol.EnvServiceAccount + "=cart", protocol.EnvNode + "=node-1",
		protocol.EnvTrustDomain + "=test.local", protocol.EnvControlPlane + "=" + p.host,
	}, p.extra...)
}

// start starts a slot's container.
func (p *pod) start(slot string) {
	p.t.Helper()
	c := p.container(names.ProxyUID, protocol.SlotCommand, "run")
	c.SysProcAttr.Chroot = cmp.Or(p.roots[slot], p.root)
	c.Env = p.env(slot)
	c.Stdout, c.Stderr = p.log, p.log
	if err := c.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.slots[slot] = c.Cmd
}

// hook runs a hook of a slot to its end, as the kubelet does.
func (p *pod) hook(slot, verb string) {
	p.t.Helper()
	c := p.container(names.ProxyUID, protocol.SlotCommand, verb)
	c.Env = p.env(slot)
	if out, err := c.CombinedOutput(); err != nil {
		p.t.Fatalf("%s of slot %s: %v\n%s", verb, slot, err, out)
	}
}

// end ends whatever still runs.
func (p *pod) end() {
	for _, c := range p.slots {
		if c.ProcessState != nil {
			continue
		}
		c.Process.Signal(syscall.SIGTERM)
		done := make(chan struct{})
		go func() { c.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(15 * time.Second):
			p.t.Errorf("a slot did not end within 15 s of SIGTERM")
			c.Process.Kill()
			<-done
		}
	}
	for _, slot := range []string{"a", "b"} {
		if pid := p.envoyPID(slot); pid != 0 && syscall.Kill(pid, 0) == nil && alive(pid) {
			p.t.Errorf("Envoy %d of slot %s was left behind", pid, slot)
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if p.t.Failed() {
		p.t.Logf("log of the slots:\n%s", p.log)
	}
}

func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

// path is where the test finds a file of the shared directory.
func (p *pod) path(file string) string {
	return filepath.Join(p.run, strings.TrimPrefix(file, protocol.RunDir))
}

func (p *pod) state(slot string) protocol.State {
	var s protocol.State
	b, err := os.ReadFile(p.path(protocol.StateFile(slot)))
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil && !os.IsNotExist(err) {
		p.t.Error(err)
	}
	return s
}

func (p *pod) envoyPID(slot string) int {
	b, err := os.ReadFile(p.path(protocol.SlotDir(slot) + "/envoy.pid"))
	if err != nil {
		return 0
	}
	started, _, _ := strings.Cut(string(b), " ")
	pid, _ := strconv.Atoi(started) // empty while it is being written
	return pid
}

// agentPID finds the agent of a slot among the children of its pid 1.
func (p *pod) agentPID(slot string) int {
	pid := p.slots[slot].Process.Pid
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		b, _ := os.ReadFile(task) // one that has ended has no children
		for _, f := range strings.Fields(string(b)) {
			line, _ := os.ReadFile("/proc/" + f + "/cmdline")
			if strings.HasPrefix(string(line), protocol.ProxyCommand) {
				n, _ := strconv.Atoi(f)
				return n
			}
		}
	}
	p.t.Fatalf("slot %s has no agent", slot)
	return 0
}

// order sets the pod's annotation, as whoever upgrades it does through the API server and the kubelet.
func (p *pod) order(target protocol.Target) {
	p.t.Helper()
	b, err := json.Marshal(target)
	if err != nil {
		p.t.Fatal(err)
	}
	p.secret(protocol.AnnotationsFile, names.AnnotationTarget+"="+strconv.Quote(string(b)))
}

// eventually waits until the condition holds.
func (p *pod) eventually(what string, limit time.Duration, ok func() bool) time.Duration {
	p.t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			p.t.Fatalf("not within %v: %s\nslot a: %+v\nslot b: %+v", limit, what, p.state("a"), p.state("b"))
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(began)
}

func (p *pod) phase(slot string, phase protocol.Phase) func() bool {
	return func() bool { return p.state(slot).Phase == phase }
}

// serveApp is the application: HTTP on all addresses of the pod.
func (p *pod) serveApp() {
	p.t.Helper()
	l, err := p.space.listen(1000, "0.0.0.0:8080")
	if err != nil {
		p.t.Fatal(err)
	}
	p.app = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		w.Header().Set("X-Seen-From", host)
		// What the test orders: how long it takes and what comes of it.
		if d, err := time.ParseDuration(r.URL.Query().Get("takes")); err == nil {
			select {
			case <-time.After(d):
			case <-r.Context().Done():
			}
		}
		if code, err := strconv.Atoi(r.URL.Query().Get("status")); err == nil {
			w.WriteHeader(code)
		}
		fmt.Fprint(w, "app")
	})}
	go p.app.Serve(l)
	app := p.app
	p.t.Cleanup(func() { app.Close() })
}
