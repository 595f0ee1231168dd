// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build live

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"tulle.dev/tulle/hack/cluster/host"
	"tulle.dev/tulle/hack/cluster/layout"
	"tulle.dev/tulle/hack/cluster/node"
)

// The live tests run the real program on a cluster of their own, beside any
// other: `go test -tags live -run TestLive ./cluster`. They need root.

// live is a cluster under test.
type live struct {
	t       *testing.T
	layout  layout.Layout
	program string
}

func newLive(t *testing.T, name string, index int) *live {
	t.Helper()
	program := filepath.Join(t.TempDir(), "cluster")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	l, err := layout.New(name, index, filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	c := &live{t, l, program}
	t.Cleanup(func() { _, _ = c.try("down") })
	return c
}

func (c *live) try(args ...string) (string, error) {
	all := append([]string{"--name", c.layout.Name, "--range", fmt.Sprint(c.layout.Range), "--state", c.layout.State}, args...)
	out, err := exec.Command(c.program, all...).CombinedOutput()
	return string(out), err
}

func (c *live) run(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.t.Fatalf("cluster %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (c *live) record() host.Record {
	c.t.Helper()
	r, ok, err := host.ReadRecord(c.layout)
	if err != nil || !ok {
		c.t.Fatalf("record: %v, %v", ok, err)
	}
	return r
}

func (c *live) component(name string) node.ComponentReport {
	c.t.Helper()
	r, err := node.ReadReport(c.layout.NodeFile())
	if err != nil {
		c.t.Fatal(err)
	}
	for _, one := range r.Components {
		if one.Name == name {
			return one
		}
	}
	c.t.Fatalf("no component %s", name)
	return node.ComponentReport{}
}

// eventually waits for a condition, and fails with what it last said.
func (c *live) eventually(what string, ok func() (bool, string)) {
	c.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		done, said := ok()
		if done {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("never: %s: %s", what, said)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestLiveRepair(t *testing.T) {
	c := newLive(t, "live-a", 63)
	c.run("up", "--addons", "none")
	c.run("status")
	c.run("kubectl", "create", "configmap", "kept")
	first := c.record()

	t.Run("up on a live cluster changes nothing", func(t *testing.T) {
		c.run("up", "--addons", "none")
		if c.record() != first {
			t.Error("the node was started again")
		}
	})

	t.Run("a dead component is started again", func(t *testing.T) {
		for _, name := range []string{"kube-apiserver", "containerd", "etcd"} {
			pid := hostPid(t, first.Pid, c.component(name).Pid)
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			c.eventually(name+" is ready again", func() (bool, string) {
				r := c.component(name)
				return r.State == node.Ready && r.Restarts == 1 && strings.Contains(r.LastExit, "killed"), fmt.Sprintf("%+v", r)
			})
		}
		c.eventually("all is well", func() (bool, string) { out, err := c.try("status"); return err == nil, out })
		if c.record() != first {
			t.Error("the node was started again, not the component")
		}
	})

	t.Run("a component fails when asked to", func(t *testing.T) {
		began := time.Now()
		c.run("fail", "kube-scheduler", "--after", "1s")
		if time.Since(began) < time.Second {
			t.Error("it was killed at once")
		}
		c.eventually("kube-scheduler is ready again", func() (bool, string) {
			r := c.component("kube-scheduler")
			return r.State == node.Ready && r.Restarts == 1 && strings.Contains(r.LastExit, "killed"), fmt.Sprintf("%+v", r)
		})
		if out, err := c.try("fail", "kube-schedular"); err == nil || !strings.Contains(out, "the components are: containerd, etcd") {
			t.Errorf("a component that does not exist: %v\n%s", err, out)
		}
	})

	t.Run("up repairs a dead node and keeps its data", func(t *testing.T) {
		if err := syscall.Kill(first.Pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		c.eventually("the node is dead", func() (bool, string) { return !first.Alive(), "" })
		if out, err := c.try("status"); err == nil || !strings.Contains(out, "has died") {
			t.Errorf("status of a dead node: %v\n%s", err, out)
		}
		c.run("up", "--addons", "none")
		c.run("kubectl", "get", "configmap", "kept")
	})

	t.Run("up repairs a lost link", func(t *testing.T) {
		link, err := netlink.LinkByName(c.layout.HostLink())
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkDel(link); err != nil {
			t.Fatal(err)
		}
		if out, err := c.try("status"); err == nil {
			t.Errorf("status without a link is well:\n%s", out)
		}
		c.run("up", "--addons", "none")
		c.run("kubectl", "get", "configmap", "kept")
	})

	t.Run("a failure names the component and shows its log", func(t *testing.T) {
		c.run("down", "--keep")
		wal, err := filepath.Glob(c.layout.Path("etcd", "member", "wal", "*.wal"))
		if err != nil || len(wal) == 0 {
			t.Fatalf("etcd's log: %v, %v", wal, err)
		}
		for _, f := range wal {
			if err := os.WriteFile(f, []byte(strings.Repeat("nonsense", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := c.try("up", "--addons", "none")
		if err == nil || !strings.Contains(out, "etcd is not ready: back-off") || !strings.Contains(out, "wal") {
			t.Errorf("up with a broken etcd: %v\n%s", err, out)
		}
	})

	t.Run("down leaves nothing", func(t *testing.T) {
		r := c.record()
		c.run("down")
		nothingLeft(t, c.layout, r)
		if out, err := c.try("status"); err == nil || !strings.Contains(out, "is not up") {
			t.Errorf("status after down: %v\n%s", err, out)
		}
		c.run("down") // and down of nothing is nothing
	})
}

// hostPid finds the process that has a pid in the node's pid namespace.
func hostPid(t *testing.T, first, inner int) int {
	t.Helper()
	ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", first))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		if other, err := os.Readlink(filepath.Join(filepath.Dir(f), "ns", "pid")); err != nil || other != ns {
			continue
		}
		for line := range strings.SplitSeq(string(data), "\n") {
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "NSpid:" && fields[len(fields)-1] == fmt.Sprint(inner) {
				var pid int
				if _, err := fmt.Sscan(fields[1], &pid); err != nil {
					t.Fatal(err)
				}
				return pid
			}
		}
	}
	t.Fatalf("no process %d in the node", inner)
	return 0
}

func nothingLeft(t *testing.T, l layout.Layout, r host.Record) {
	t.Helper()
	if r.Alive() {
		t.Errorf("process %d is there", r.Pid)
	}
	if _, err := netlink.LinkByName(l.HostLink()); err == nil {
		t.Errorf("interface %s is there", l.HostLink())
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		for _, p := range append(l.Routed(), l.Link()) {
			if r.Dst != nil && r.Dst.String() == p.String() {
				t.Errorf("route %s is there", r)
			}
		}
	}
	for _, pattern := range []string{"/sys/fs/cgroup/*" + l.CgroupRoot(), "/sys/fs/cgroup" + l.CgroupRoot(), l.State, l.LockFile()} {
		if found, err := filepath.Glob(pattern); err != nil || len(found) > 0 {
			t.Errorf("%v is there (%v)", found, err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), l.State) {
		t.Error("a mount of the cluster is there")
	}
}
