// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package scale

import (
	"math"
	"time"
)

// Patience is how long fewer replicas must have been enough before one goes.
const Patience = 5 * time.Minute

// slack is how far above its aim CPU may be, as a share of one replica's, before another one is called
// for: a measurement is never exact.
const slack = 0.1

// Input is what the number of replicas follows from.
type Input struct {
	// Min and Max are the bounds; Max below Min counts as Min.
	Min, Max int32
	// ProxiesPerReplica is what a replica is to serve.
	ProxiesPerReplica int32
	// Proxies are connected; nil: nobody knows, and then nothing changes.
	Proxies *int32
	// CPU is what all replicas together use, and TargetCPU what each is to use, in cores; TargetCPU 0:
	// CPU doesn't matter, or nobody knows.
	CPU, TargetCPU float64
	// Before is what this package said before; nil: nothing yet, and Running are there.
	Before  *State
	Running int32
	Now     time.Time
}

// State is how many replicas there are to be, and since when fewer would do; the zero time: they would not.
type State struct {
	Replicas   int32
	LowerSince time.Time
}

// Next decides.
func Next(in Input) State {
	upper := max(in.Min, in.Max)
	s := State{Replicas: in.Running}
	if in.Before != nil {
		s = *in.Before
	}
	within := max(in.Min, min(upper, s.Replicas))
	if within != s.Replicas {
		s = State{Replicas: within}
	}
	if in.Proxies == nil {
		// What is not known now may have been more all the time.
		return State{Replicas: within}
	}
	need := max(in.Min, min(upper, needed(in)))
	switch {
	case need > within:
		return State{Replicas: need}
	case need == within:
		return State{Replicas: within}
	case s.LowerSince.IsZero() || s.LowerSince.After(in.Now):
		return State{Replicas: within, LowerSince: in.Now}
	case in.Now.Sub(s.LowerSince) < Patience:
		return State{Replicas: within, LowerSince: s.LowerSince}
	}
	return State{Replicas: within - 1}
}

// needed is how many replicas proxies and CPU ask for, out of bounds maybe.
func needed(in Input) int32 {
	n := 0.0
	if in.ProxiesPerReplica > 0 {
		n = math.Ceil(float64(*in.Proxies) / float64(in.ProxiesPerReplica))
	}
	if in.TargetCPU > 0 {
		n = max(n, math.Ceil(in.CPU/in.TargetCPU-slack))
	}
	return int32(min(n, math.MaxInt32))
}
