// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package node

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Report is what the node says about itself, for `status` and for `up`.
type Report struct {
	// Failed is set when the node could not be made; nothing runs then.
	Failed string `json:"failed,omitempty"`
	// Components is in starting order.
	Components []ComponentReport `json:"components"`
}

// State is what a component is doing.
type State string

// The states of a component, in the usual order.
const (
	Waiting  State = "waiting"  // for a component that it needs
	Starting State = "starting" // runs, but its probe has not answered yet
	Ready    State = "ready"    // its probe answered when last asked
	Failing  State = "failing"  // was ready, and its probe has stopped answering
	BackOff  State = "back-off" // has ended, and will be started again
)

// ComponentReport is the state of one component.
type ComponentReport struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	// Pid is in the node's pid namespace; 0 when it does not run.
	Pid int `json:"pid,omitempty"`
	// Since is when State was entered.
	Since time.Time `json:"since"`
	// Restarts counts how often it was started again.
	Restarts int `json:"restarts,omitempty"`
	// LastExit says how it last ended.
	LastExit string `json:"lastExit,omitempty"`
}

// ReadReport reads a report file. A missing file is an empty report: the node
// has not said anything yet.
func ReadReport(path string) (Report, error) {
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return Report{}, nil
	}
	if err != nil {
		return Report{}, fmt.Errorf("read node report: %w", err)
	}
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		return Report{}, fmt.Errorf("parse node report: %w", err)
	}
	return r, nil
}

// write replaces the report by a rename, so that a reader never sees half.
func (r Report) write(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode node report: %w", err)
	}
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write node report: %w", err)
	}
	return os.Rename(path+".new", path)
}
