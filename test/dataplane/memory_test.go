// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dataplane

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/protocol"
)

func readProc(t *testing.T, pid int, file string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// memory reads a process's resident memory, in kB.
func memory(t *testing.T, pid int) (rss, anon int) {
	t.Helper()
	for _, line := range strings.Split(readProc(t, pid, "status"), "\n") {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.Atoi(f[1])
		switch f[0] {
		case "VmRSS:":
			rss = n
		case "RssAnon:":
			anon = n
		}
	}
	return rss, anon
}

// TestMemory holds the weight that every meshed pod pays to what was promised.
func TestMemory(t *testing.T) {
	p := newPod(t)
	p.start("a")
	p.hook("a", "wait")
	p.start("b")
	p.eventually("slot b is the standby", 5*time.Second, p.phase("b", protocol.PhaseStandby))
	l := newLoad(p)
	l.during(500)
	l.stop(t)
	for _, c := range []struct {
		name  string
		pid   int
		limit int // kB of RSS; 0: none
	}{
		{"standby slot", p.slots["b"].Process.Pid, 6 << 10},
		{"active slot", p.slots["a"].Process.Pid, 6 << 10},
		{"agent", p.agentPID("a"), 20 << 10},
		{"Envoy", p.envoyPID("a"), 0},
	} {
		rss, anon := memory(t, c.pid)
		t.Logf("%-13s RSS %6d kB, anonymous %6d kB", c.name, rss, anon)
		if c.limit > 0 && rss > c.limit {
			t.Errorf("%s: RSS is %d kB, want at most %d", c.name, rss, c.limit)
		}
	}
}
