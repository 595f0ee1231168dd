// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package slot

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

func newLayout(t *testing.T) Layout {
	t.Helper()
	l := Layout{Root: t.TempDir(), Pod: t.TempDir()}
	if err := l.makeDirs(); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestTarget(t *testing.T) {
	l := newLayout(t)
	if got, err := l.Target(); err != nil || got != (protocol.Target{Slot: "a"}) {
		t.Errorf("without a file: %+v, %v; want slot a, generation 0", got, err)
	}
	annotate := func(target string) {
		t.Helper()
		// As the kubelet writes it: sorted, quoted, no line end after the last.
		lines := `a="1"` + "\n" + names.AnnotationTarget + "=" + strconv.Quote(target) + "\n" + `z="two\nlines"`
		if err := os.WriteFile(filepath.Join(l.Pod, "annotations"), []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	annotate(`{"slot":"b","generation":7,"version":"0.2.0"}`)
	want := protocol.Target{Slot: "b", Generation: 7, Version: "0.2.0"}
	if got, err := l.Target(); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "{", `{"slot":"c","generation":9}`} {
		annotate(bad)
		if got, err := l.Target(); err == nil {
			t.Errorf("%q was read as %+v, want an error", bad, got)
		}
	}
}

// TestStateOfTheDead: what a dead slot left behind does not count.
func TestStateOfTheDead(t *testing.T) {
	l := newLayout(t)
	want := protocol.State{Slot: "b", Phase: protocol.PhaseReady, Generation: 3}
	if err := l.writeState(want); err != nil {
		t.Fatal(err)
	}
	if got, err := l.State("b"); err != nil || got.Phase != "" {
		t.Errorf("state of a dead slot: %+v, %v", got, err)
	}
	alive, err := Config{Slot: "b", Layout: l}.alive()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.State("b"); err != nil || got != want {
		t.Errorf("state of a living slot: %+v, %v; want %+v", got, err, want)
	}
	if _, err := tryLock(l.at(protocol.AliveFile("b"))); !errors.Is(err, errHeld) {
		t.Errorf("a second pid 1 of the slot: %v, want %v", err, errHeld)
	}
	alive.release()
	if got, err := l.State("b"); err != nil || got.Phase != "" {
		t.Errorf("state of a dead slot: %+v, %v", got, err)
	}
}

func TestWait(t *testing.T) {
	l := newLayout(t)
	alive, err := Config{Slot: "a", Layout: l}.alive()
	if err != nil {
		t.Fatal(err)
	}
	defer alive.release()
	if err := l.writeState(protocol.State{Slot: "a", Phase: protocol.PhaseStarting, Message: "no certificate"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var log bytes.Buffer
	if err := Wait(ctx, l, &log); err == nil || !strings.Contains(err.Error(), "slot a is Starting: no certificate") {
		t.Errorf("Wait = %v, want the reason", err)
	}
	if n := strings.Count(log.String(), "no certificate"); n != 1 {
		t.Errorf("the reason was told %d times: %s", n, &log)
	}
	if err := l.writeState(protocol.State{Slot: "a", Phase: protocol.PhaseReady}); err != nil {
		t.Fatal(err)
	}
	if err := Wait(t.Context(), l, &log); err != nil {
		t.Errorf("Wait = %v with a slot that is Ready", err)
	}
}

// TestDependencies keeps the standby small: what is linked in is paid for by every pod.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "tulle.dev/tulle/cmd/tulle-slot").Output()
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{
		"tulle.dev/tulle/internal/names": true, "tulle.dev/tulle/internal/protocol": true, "tulle.dev/tulle/internal/virtualhost": true, // which protocol names
		"tulle.dev/tulle/internal/dataplane/slot": true, "tulle.dev/tulle/cmd/tulle-slot": true,
	}
	deps := strings.Fields(string(out))
	if len(deps) != len(allowed) {
		t.Errorf("tulle-slot links %d packages that are not the standard library's, want %d", len(deps), len(allowed))
	}
	for _, d := range deps {
		if !allowed[d] {
			t.Errorf("tulle-slot links %s", d)
		}
	}
}
