// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package node

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"tulle.dev/tulle/hack/cluster/layout"
	"tulle.dev/tulle/hack/cluster/render"
)

const (
	firstBackOff = 200 * time.Millisecond
	maxBackOff   = 10 * time.Second
	// steady is how long a component must have run for its back-off to start
	// from the beginning again.
	steady = 30 * time.Second
	// startPoll and readyPoll are how often a component is asked before and
	// after it is ready.
	startPoll = 50 * time.Millisecond
	readyPoll = 5 * time.Second
	// maxLog is the size at which a log is begun anew when its component is
	// started again, in bytes.
	maxLog = 64 << 20
)

// supervisor runs the components. Its methods are safe for concurrent use.
type supervisor struct {
	layout layout.Layout
	reaper *reaper
	prober *prober

	mu     sync.Mutex
	report Report                   // guarded by mu
	ready  map[string]chan struct{} // closed when a component is ready for the first time; the map is read-only
}

func supervise(ctx context.Context, l layout.Layout, components []render.Component) error {
	p, err := newProber(l)
	if err != nil {
		return err
	}
	s := &supervisor{layout: l, reaper: newReaper(), prober: p, ready: map[string]chan struct{}{}}
	now := time.Now()
	for _, c := range components {
		s.report.Components = append(s.report.Components, ComponentReport{Name: c.Name, State: Waiting, Since: now})
		s.ready[c.Name] = make(chan struct{})
	}
	var all sync.WaitGroup
	for i, c := range components {
		all.Go(func() { s.keep(ctx, i, c) })
	}
	all.Wait()
	return ctx.Err()
}

// keep starts a component whenever it does not run, until ctx ends.
func (s *supervisor) keep(ctx context.Context, i int, c render.Component) {
	for _, name := range c.After {
		select {
		case <-s.ready[name]:
		case <-ctx.Done():
			return
		}
	}
	backOff := firstBackOff
	for ctx.Err() == nil {
		began := time.Now()
		exit := s.once(ctx, i, c)
		if time.Since(began) > steady {
			backOff = firstBackOff
		}
		s.update(i, func(r *ComponentReport) {
			r.State, r.Pid, r.LastExit, r.Restarts = BackOff, 0, exit, r.Restarts+1
		})
		fmt.Printf("%s %s ended: %s; starting it again in %s\n", time.Now().Format(time.RFC3339), c.Name, exit, backOff)
		select {
		case <-time.After(backOff):
		case <-ctx.Done():
		}
		backOff = min(2*backOff, maxBackOff)
	}
}

// once runs a component once and says how it ended.
func (s *supervisor) once(ctx context.Context, i int, c render.Component) string {
	log, err := openLog(s.layout.Log(c.Name))
	if err != nil {
		return err.Error()
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err.Error()
	}
	defer null.Close()
	pid, ended, err := s.reaper.start(c.Args, &os.ProcAttr{
		Dir:   "/",
		Env:   []string{path(s.layout), "HOME=/root", "LANG=C.UTF-8"},
		Files: []*os.File{null, log, log},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return "start: " + err.Error()
	}
	s.update(i, func(r *ComponentReport) { r.State, r.Pid = Starting, pid })
	poll := time.NewTicker(startPoll)
	defer poll.Stop()
	state := Starting
	for {
		select {
		case status := <-ended:
			return describe(status)
		case <-ctx.Done():
			return "stopped"
		case <-poll.C:
		}
		next := nextState(state, s.prober.ask(ctx, c.Ready))
		if next == state {
			continue
		}
		state = next
		s.update(i, func(r *ComponentReport) { r.State = state })
		if state == Ready {
			s.announce(c.Name)
			poll.Reset(readyPoll)
		}
	}
}

// nextState is the state after a probe of a running component.
func nextState(now State, probe error) State {
	switch {
	case probe == nil:
		return Ready
	case now == Starting:
		return Starting
	}
	return Failing
}

// announce lets those start that wait for a component.
func (s *supervisor) announce(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.ready[name]:
	default:
		close(s.ready[name])
	}
}

func (s *supervisor) update(i int, change func(*ComponentReport)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.report.Components[i]
	before := r.State
	change(r)
	if r.State != before {
		r.Since = time.Now()
	}
	if err := s.report.write(s.layout.NodeFile()); err != nil {
		fmt.Println(err)
	}
}

func openLog(file string) (*os.File, error) {
	flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if info, err := os.Stat(file); err == nil && info.Size() > maxLog {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(file, flags, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return f, nil
}

func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "killed by " + status.Signal().String()
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

// path is the PATH of every component: containerd looks for its shim and runc
// on it, kube-proxy for nft, the kubelet for mount.
func path(l layout.Layout) string {
	return "PATH=" + l.Bin() + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}
