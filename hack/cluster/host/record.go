// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package host

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"tulle.dev/tulle/hack/cluster/layout"
)

// Record is what a cluster was made with, kept in its state folder.
type Record struct {
	Name  string `json:"name"`
	Range int    `json:"range"`
	// Pid is the node's first process, as the host sees it, and StartTime
	// when the kernel started it, in ticks since boot: pids are used again.
	Pid       int       `json:"pid"`
	StartTime string    `json:"startTime"`
	Boot      string    `json:"boot"`
	Started   time.Time `json:"started"`
}

// ReadRecord reads a cluster's record; ok is false if there is none.
func ReadRecord(l layout.Layout) (r Record, ok bool, err error) {
	data, err := os.ReadFile(l.ClusterFile())
	if os.IsNotExist(err) {
		return Record{}, false, nil
	}
	if err != nil {
		return Record{}, false, fmt.Errorf("read cluster record: %w", err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, false, fmt.Errorf("parse cluster record: %w", err)
	}
	return r, true, nil
}

func (r Record) write(l layout.Layout) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode cluster record: %w", err)
	}
	if err := os.WriteFile(l.ClusterFile()+".new", append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write cluster record: %w", err)
	}
	if err := os.Rename(l.ClusterFile()+".new", l.ClusterFile()); err != nil {
		return fmt.Errorf("write cluster record: %w", err)
	}
	return nil
}

// Alive tells whether the node's first process lives.
func (r Record) Alive() bool {
	return r.Pid > 0 && r.Boot == bootID() && startTime(r.Pid) == r.StartTime && r.StartTime != ""
}

// startTime is field 22 of /proc/PID/stat; empty if the process is gone or
// only waits to be collected.
func startTime(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The program's name, in parentheses, may contain anything.
	_, rest, ok := strings.Cut(string(data[strings.LastIndexByte(string(data), ')'):]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

func bootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
