// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tulle.dev/tulle/hack/cluster/layout"
)

func TestNextState(t *testing.T) {
	no := errors.New("no")
	for _, c := range []struct {
		now   State
		probe error
		want  State
	}{
		{Starting, no, Starting},
		{Starting, nil, Ready},
		{Ready, nil, Ready},
		{Ready, no, Failing},
		{Failing, no, Failing},
		{Failing, nil, Ready},
	} {
		if got := nextState(c.now, c.probe); got != c.want {
			t.Errorf("nextState(%s, %v) = %s, want %s", c.now, c.probe, got, c.want)
		}
	}
}

// The reaper tells each process' own end, and also collects children that it
// did not start, without taking them for its own.
func TestReaper(t *testing.T) {
	r := newReaper()
	attr := &os.ProcAttr{Files: []*os.File{nil, nil, nil}}
	start := func(script string) (int, <-chan syscall.WaitStatus) {
		t.Helper()
		pid, ended, err := r.start([]string{"/bin/sh", "-c", script}, attr)
		if err != nil {
			t.Fatal(err)
		}
		return pid, ended
	}
	_, three := start("exit 3")
	long, killed := start("exec sleep 1000")
	stranger, err := os.StartProcess("/bin/sh", []string{"sh", "-c", "exit 5"}, attr)
	if err != nil {
		t.Fatal(err)
	}
	if s := receive(t, three); describe(s) != "exit status 3" {
		t.Errorf("ended with %s", describe(s))
	}
	if err := syscall.Kill(long, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if s := receive(t, killed); describe(s) != "killed by killed" {
		t.Errorf("ended with %s", describe(s))
	}
	deadline := time.Now().Add(10 * time.Second)
	for syscall.Kill(stranger.Pid, 0) == nil {
		if time.Now().After(deadline) {
			t.Fatal("a child that the reaper did not start is never collected")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, _, err := r.start([]string{"/no/such/program"}, attr); err == nil {
		t.Error("started a program that is not there")
	}
}

func receive(t *testing.T, c <-chan syscall.WaitStatus) syscall.WaitStatus {
	t.Helper()
	select {
	case s := <-c:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("the end was never told")
		return 0
	}
}

func TestReport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node.json")
	empty, err := ReadReport(file)
	if err != nil || len(empty.Components) != 0 {
		t.Fatalf("a missing report is %+v, %v", empty, err)
	}
	want := Report{Components: []ComponentReport{{Name: "etcd", State: BackOff, Restarts: 2, LastExit: "exit status 1"}}}
	if err := want.write(file); err != nil {
		t.Fatal(err)
	}
	got, err := ReadReport(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := os.WriteFile(file, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadReport(file); err == nil {
		t.Error("half a report was read as a whole one")
	}
}

func TestGuardRules(t *testing.T) {
	l, err := layout.New("a", 3, "/s")
	if err != nil {
		t.Fatal(err)
	}
	rules := guardRules(l)
	accept := strings.Index(rules, `oifname "uplink" ip daddr 198.18.0.0/15 counter name "passed" accept`)
	drop := strings.Index(rules, `oifname "uplink" counter name "stopped" drop`)
	if accept < 0 || drop < accept {
		t.Errorf("the rules must let 198.18.0.0/15 pass, and then stop everything:\n%s", rules)
	}
}
