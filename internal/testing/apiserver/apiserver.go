// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package apiserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// Server is a running kube-apiserver. Stop it.
type Server struct {
	// Config is an administrator's.
	Config *rest.Config

	dir   string
	parts []*part
}

// startWithin bounds a start on a busy machine.
const startWithin = 2 * time.Minute

// Start starts a server on free ports of the loopback address, with all its files in a folder of its own.
func Start(ctx context.Context) (*Server, error) {
	kk, err := program()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tulle-apiserver-")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	s := &Server{dir: dir}
	if err := s.start(ctx, kk); err != nil {
		logs := s.logs()
		s.Stop()
		return nil, fmt.Errorf("%w\n%s", err, logs)
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, kk string) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	keys, err := writeKeys(s.dir)
	if err != nil {
		return err
	}
	ports, err := freePorts(ctx, 2)
	if err != nil {
		return err
	}
	etcd := "https://127.0.0.1:" + ports[0]
	if err := s.run(kk, "etcd", filepath.Join(s.dir, "etcd"), etcd, keys.ca, keys.cert, keys.key); err != nil {
		return err
	}
	err = s.run(kk, "kube-apiserver",
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+ports[1],
		"--etcd-servers="+etcd, "--etcd-cafile="+keys.ca, "--etcd-certfile="+keys.cert, "--etcd-keyfile="+keys.key,
		"--client-ca-file="+keys.ca, "--tls-cert-file="+keys.cert, "--tls-private-key-file="+keys.key,
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file="+keys.pub, "--service-account-signing-key-file="+keys.key,
		"--authorization-mode=RBAC", "--allow-privileged=true", "--service-cluster-ip-range=198.19.200.0/24",
		// Nobody makes service accounts for pods here.
		"--disable-admission-plugins=ServiceAccount",
		// Webhooks are called at their endpoints: there is no kube-proxy.
		"--enable-aggregator-routing=true",
		// The kubernetes Service would get the loopback address as its endpoint, which is refused.
		"--endpoint-reconciler-type=none",
	)
	if err != nil {
		return err
	}
	s.Config = &rest.Config{
		Host: "https://127.0.0.1:" + ports[1], QPS: 500, Burst: 1000,
		TLSClientConfig: rest.TLSClientConfig{CAFile: keys.ca, CertFile: keys.cert, KeyFile: keys.key},
	}
	return s.ready(ctx)
}

// ready waits until the server says that it is.
func (s *Server) ready(ctx context.Context) error {
	client, err := rest.HTTPClientFor(s.Config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, p := range s.parts {
			select {
			case <-p.done:
				return fmt.Errorf("%s has ended", p.name)
			default:
			}
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Config.Host+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close() // only the status matters
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errors.New("kube-apiserver was not ready in time")
		case <-tick.C:
		}
	}
}

// Stop ends the server and removes its files.
func (s *Server) Stop() {
	for i := len(s.parts) - 1; i >= 0; i-- {
		p := s.parts[i]
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
		select {
		case <-p.done:
		case <-time.After(5 * time.Second):
			_ = p.cmd.Process.Kill()
			<-p.done
		}
	}
	_ = os.RemoveAll(s.dir) // a temporary folder
}

// part is one process. out may be read once done is closed, or for a last look.
type part struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// run starts a process that ends with this one.
func (s *Server) run(program, name string, args ...string) error {
	// It is stopped by Stop and not by a context, so that it gets to end well.
	p := &part{
		name: name, cmd: exec.CommandContext(context.Background(), program, append([]string{name}, args...)...),
		log: filepath.Join(s.dir, name+".log"), done: make(chan struct{}),
	}
	out, err := os.Create(p.log)
	if err != nil {
		return fmt.Errorf("make log of %s: %w", name, err)
	}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The kernel sends the signal when the starting thread ends, so the thread must stay.
		runtime.LockOSThread()
		defer out.Close()
		if err := p.cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		_ = p.cmd.Wait() // how it ended is in its log
		close(p.done)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	s.parts = append(s.parts, p)
	return nil
}

// logs are the last lines of every process.
func (s *Server) logs() string {
	var b strings.Builder
	for _, p := range s.parts {
		text, err := os.ReadFile(p.log)
		if err != nil {
			continue
		}
		lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
		fmt.Fprintf(&b, "--- %s\n%s\n", p.name, bytes.Join(lines[max(0, len(lines)-15):], []byte("\n")))
	}
	return b.String()
}

// program is the binary that is all of Kubernetes, from TULLE_KK or the newest in the cluster's cache.
func program() (string, error) {
	if p := os.Getenv("TULLE_KK"); p != "" {
		return p, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache: %w", err)
	}
	found, err := filepath.Glob(filepath.Join(cache, "tulle", "bin", "kk-*"))
	if err != nil {
		return "", err
	}
	newest, at := "", time.Time{}
	for _, p := range found {
		info, err := os.Stat(p)
		if err == nil && info.Mode().Perm()&0o100 != 0 && !strings.HasSuffix(p, ".lock") && info.ModTime().After(at) {
			newest, at = p, info.ModTime()
		}
	}
	if newest == "" {
		return "", fmt.Errorf("kube-apiserver is not built: run `go run -C hack ./cluster build`, or set TULLE_KK to a binary of hack/parts/kube")
	}
	return newest, nil
}

// freePorts are ports of the loopback address that nobody listens on now.
func freePorts(ctx context.Context, n int) ([]string, error) {
	var out []string
	for range n {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close()
		out = append(out, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return out, nil
}
