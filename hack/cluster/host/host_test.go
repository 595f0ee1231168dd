// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package host

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/hack/cluster/layout"
)

func TestAlive(t *testing.T) {
	self := Record{Pid: os.Getpid(), StartTime: startTime(os.Getpid()), Boot: bootID()}
	if !self.Alive() {
		t.Fatalf("this process is not alive: %+v", self)
	}
	for about, change := range map[string]func(*Record){
		"another process with the same pid": func(r *Record) { r.StartTime = "1" },
		"before the machine started again":  func(r *Record) { r.Boot = "x" },
		"nothing recorded":                  func(r *Record) { *r = Record{} },
	} {
		r := self
		change(&r)
		if r.Alive() {
			t.Errorf("alive: %s", about)
		}
	}
	// A process that has ended, but is not collected, is not alive.
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	zombie := Record{Pid: cmd.Process.Pid, StartTime: startTime(cmd.Process.Pid), Boot: bootID()}
	deadline := time.Now().Add(10 * time.Second)
	for zombie.Alive() {
		if time.Now().After(deadline) {
			t.Fatal("a zombie is alive")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	state := t.TempDir()
	l, err := Find("two", -1, state)
	if err != nil || l.Range != 0 {
		t.Fatalf("a new cluster: %+v, %v", l, err)
	}
	if _, err := FindLive("two", -1, state); err == nil || !strings.Contains(err.Error(), "not up") {
		t.Errorf("a cluster that was never made is live: %v", err)
	}
	if err := (Record{Name: "two", Range: 9}).write(l); err != nil {
		t.Fatal(err)
	}
	if l, err = Find("two", -1, state); err != nil || l.Range != 9 {
		t.Errorf("the record's range is not used: %+v, %v", l, err)
	}
	if _, err := Find("two", 3, state); err == nil || !strings.Contains(err.Error(), "has range 9, not 3") {
		t.Errorf("another range: %v", err)
	}
	if _, err := Find("three", -1, state); err == nil || !strings.Contains(err.Error(), `belongs to cluster "two"`) {
		t.Errorf("another cluster's folder: %v", err)
	}
	t.Setenv("XDG_STATE_HOME", "/somewhere")
	if l, err = Find("two", 1, ""); err != nil || l.State != "/somewhere/tulle/two" {
		t.Errorf("the default folder is %+v, %v", l, err)
	}
}

// What is not the cluster's own stays when the cluster goes.
func TestStopKeepsForeignFiles(t *testing.T) {
	l, err := layout.New("host-test", 62, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mine.txt", "kubeconfig", "etcd"} {
		if err := os.WriteFile(l.Path(name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeState(l); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(l.State)
	if err != nil || len(left) != 1 || left[0].Name() != "mine.txt" {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := os.Remove(l.Path("mine.txt")); err != nil {
		t.Fatal(err)
	}
	if err := removeState(l); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.State); !os.IsNotExist(err) {
		t.Errorf("the empty folder stays: %v", err)
	}
}
