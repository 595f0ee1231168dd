// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tulle.dev/tulle/hack/cluster/layout"
	"tulle.dev/tulle/hack/cluster/node"
)

func report(components ...node.ComponentReport) node.Report {
	return node.Report{Components: components}
}

func TestLaggard(t *testing.T) {
	r := report(node.ComponentReport{Name: "a", State: node.Ready}, node.ComponentReport{Name: "b", State: node.Failing})
	if got := laggard(r); got != "b" {
		t.Errorf("laggard is %q", got)
	}
	r.Components[1].State = node.Ready
	if got := laggard(r); got != "" {
		t.Errorf("laggard is %q, all are ready", got)
	}
}

// Restarts of long ago don't count, and neither do those of what runs now.
func TestHopeless(t *testing.T) {
	now := report(node.ComponentReport{Name: "a", State: node.BackOff, Restarts: 7})
	if got := hopeless(node.Report{}, now); got != "a" {
		t.Errorf("hopeless is %q", got)
	}
	if got := hopeless(report(node.ComponentReport{Name: "a", Restarts: 6}), now); got != "" {
		t.Errorf("hopeless is %q after one end", got)
	}
	now.Components[0].State = node.Starting
	if got := hopeless(node.Report{}, now); got != "" {
		t.Errorf("hopeless is %q, which runs", got)
	}
}

// A failure names the component and shows what it said last.
func TestComponentError(t *testing.T) {
	l, err := layout.New("a", 0, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(l.Log("etcd")), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.Log("etcd"), []byte("first\ndisk is on fire\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	text := componentError(l, report(node.ComponentReport{Name: "etcd", State: node.BackOff, Restarts: 5, LastExit: "exit status 1"}), "etcd").Error()
	for _, want := range []string{"etcd is not ready", "back-off", "5 times", "exit status 1", "disk is on fire", l.Log("etcd")} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in: %s", want, text)
		}
	}
}

func TestOutdated(t *testing.T) {
	l, err := layout.New("a", 0, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(l.Bin(), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kk", "runc"} {
		if err := os.Symlink("/cache/"+name+"-1", filepath.Join(l.Bin(), name)); err != nil {
			t.Fatal(err)
		}
	}
	got := outdated(l, map[string]string{"kk": "/cache/kk-2", "runc": "/cache/runc-1"})
	if len(got) != 1 || got[0] != "kk" {
		t.Errorf("outdated: %v, want [kk]", got)
	}
}

func TestTail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, []byte("a\nb\nc\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := tail(file, 2); got != "b\nc" {
		t.Errorf("tail is %q", got)
	}
	if got := tail(file, 9); got != "a\nb\nc" {
		t.Errorf("tail is %q", got)
	}
	if got := tail(file+"x", 2); !strings.Contains(got, "no such file") {
		t.Errorf("tail of a missing file is %q", got)
	}
}

func TestParseCounters(t *testing.T) {
	got, err := parseCounters([]byte(`{"nftables":[{"metainfo":{"version":"1.0.6"}},{"counter":{"name":"passed","packets":12,"bytes":900}},{"counter":{"name":"stopped","packets":0}}]}`))
	if err != nil || got["passed"] != 12 || got["stopped"] != 0 || len(got) != 2 {
		t.Errorf("counters %v, %v", got, err)
	}
	if _, err := parseCounters([]byte("x")); err == nil {
		t.Error("nonsense was parsed")
	}
}

func TestAddons(t *testing.T) {
	for list, want := range map[string]int{"": 0, "none": 0, "cert-manager": 1, "cert-manager,gateway-api": 2} {
		if got, err := addons(list); err != nil || len(got) != want {
			t.Errorf("addons(%q) = %d, %v", list, len(got), err)
		}
	}
	if _, err := addons("cert-manager,nonsense"); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("an unknown add-on: %v", err)
	}
}
