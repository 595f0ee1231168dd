// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package slot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// Layout is where a pod's files are. Root stands for protocol.RunDir, Pod for protocol.PodDir; other
// values are for tests.
type Layout struct{ Root, Pod string }

// PodLayout is the layout of a real pod.
func PodLayout() Layout { return Layout{Root: protocol.RunDir, Pod: protocol.PodDir} }

// at moves a path of the protocol under Root.
func (l Layout) at(path string) string { return l.Root + strings.TrimPrefix(path, protocol.RunDir) }

// other is the name of the other slot.
func other(slot string) string {
	if slot == "a" {
		return "b"
	}
	return "a"
}

// Target reads from the pod's annotations which slot ought to be active. Without the annotation, or the
// file, it is slot "a", generation 0.
func (l Layout) Target() (protocol.Target, error) {
	t := protocol.Target{Slot: "a"}
	path := filepath.Join(l.Pod, filepath.Base(protocol.AnnotationsFile))
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return protocol.Target{}, fmt.Errorf("read the pod's annotations: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		quoted, ok := strings.CutPrefix(line, names.AnnotationTarget+"=")
		if !ok {
			continue
		}
		value, err := strconv.Unquote(strings.TrimSuffix(quoted, "\n"))
		if err == nil {
			err = json.Unmarshal([]byte(value), &t)
		}
		if err != nil {
			return protocol.Target{}, fmt.Errorf("read annotation %s: %w", names.AnnotationTarget, err)
		}
	}
	if t.Slot != "a" && t.Slot != "b" {
		return protocol.Target{}, fmt.Errorf("annotation %s: slot %q is neither a nor b", names.AnnotationTarget, t.Slot)
	}
	return t, nil
}

// State reads what a slot last said of itself; the zero State if its pid 1 does not live.
func (l Layout) State(slot string) (protocol.State, error) {
	var s protocol.State
	if !held(l.at(protocol.AliveFile(slot))) {
		return s, nil
	}
	if err := readJSON(l.at(protocol.StateFile(slot)), &s); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return protocol.State{}, err
	}
	return s, nil
}

// writeState publishes what this slot says of itself, atomically.
func (l Layout) writeState(s protocol.State) error {
	return writeJSON(l.at(protocol.StateFile(s.Slot)), s)
}

// makeDirs makes the directories of both slots, so that either can watch the other's.
func (l Layout) makeDirs() error {
	for _, s := range []string{"a", "b"} {
		if err := os.MkdirAll(l.at(protocol.SlotDir(s)), 0o755); err != nil {
			return fmt.Errorf("make directory of slot %s: %w", s, err)
		}
	}
	return nil
}

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// writeJSON writes beside the file and renames, so that a reader sees the old or the new, never half.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	tmp := filepath.Join(filepath.Dir(path), ".new-"+filepath.Base(path))
	if err := os.WriteFile(tmp, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
