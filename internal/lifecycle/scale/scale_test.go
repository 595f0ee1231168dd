// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package scale

import (
	"math/rand/v2"
	"testing"
	"time"
)

var start = time.Unix(1_000_000, 0)

func count(n int32) *int32 { return &n }

func TestNext(t *testing.T) {
	ago := func(d time.Duration) time.Time { return start.Add(-d) }
	for _, c := range []struct {
		name string
		in   Input
		want State
	}{
		{"nothing yet", Input{Running: 0, Proxies: count(0)}, State{Replicas: 2}},
		{"takes over what runs", Input{Running: 4, Proxies: count(2000)}, State{Replicas: 4}},
		{"more than allowed run", Input{Running: 40, Proxies: count(9999)}, State{Replicas: 8}},
		{"up at once", Input{Before: &State{Replicas: 2}, Proxies: count(1001)}, State{Replicas: 3}},
		{"up by many", Input{Before: &State{Replicas: 2}, Proxies: count(3300)}, State{Replicas: 7}},
		{"not above the bound", Input{Before: &State{Replicas: 2}, Proxies: count(100_000)}, State{Replicas: 8}},
		{"enough", Input{Before: &State{Replicas: 3}, Proxies: count(1500)}, State{Replicas: 3}},
		{"fewer would do", Input{Before: &State{Replicas: 4}, Proxies: count(100)}, State{Replicas: 4, LowerSince: start}},
		{"not for long enough", Input{Before: &State{4, ago(4 * time.Minute)}, Proxies: count(100)}, State{4, ago(4 * time.Minute)}},
		{"for long enough", Input{Before: &State{4, ago(5 * time.Minute)}, Proxies: count(100)}, State{Replicas: 3}},
		{"not below the bound", Input{Before: &State{2, ago(time.Hour)}, Proxies: count(0)}, State{Replicas: 2}},
		{"needed again", Input{Before: &State{4, ago(4 * time.Minute)}, Proxies: count(2000)}, State{Replicas: 4}},
		{"nobody knows", Input{Before: &State{4, ago(time.Hour)}}, State{Replicas: 4}},
		{"a clock that went back", Input{Before: &State{4, start.Add(time.Hour)}, Proxies: count(0)}, State{Replicas: 4, LowerSince: start}},
		{"CPU", Input{Before: &State{Replicas: 2}, Proxies: count(10), CPU: 1.4, TargetCPU: 0.5}, State{Replicas: 3}},
		{"a little more CPU", Input{Before: &State{Replicas: 3}, Proxies: count(10), CPU: 1.54, TargetCPU: 0.5}, State{Replicas: 3}},
		{"CPU, and proxies ask for more", Input{Before: &State{Replicas: 2}, Proxies: count(2400), CPU: 1.4, TargetCPU: 0.5}, State{Replicas: 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.Min, c.in.Max, c.in.ProxiesPerReplica, c.in.Now = 2, 8, 500, start
			if got := Next(c.in); !got.LowerSince.Equal(c.want.LowerSince) || got.Replicas != c.want.Replicas {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestComesToRest: with the same load all the time, whatever it is and wherever it begins, the number
// of replicas moves in one direction only, stays within the bounds, and stays at last. Each replica
// costs some CPU of its own, however many share the load.
func TestComesToRest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for trial := range 2000 {
		in := Input{
			Min: 1 + r.Int32N(8), ProxiesPerReplica: 1 + r.Int32N(1000), Proxies: count(r.Int32N(9000)),
			Running: r.Int32N(30), Now: start,
		}
		in.Max = in.Min + r.Int32N(9)
		own, shared := r.Float64()*0.2, r.Float64()*3
		if r.IntN(2) == 0 {
			in.TargetCPU = 0.05 + r.Float64()
		}
		var directions [2]bool
		var last State
		for range 200 {
			running := in.Running
			if in.Before != nil {
				running = in.Before.Replicas
			}
			in.CPU = own*float64(running) + shared
			got := Next(in)
			if got.Replicas < in.Min || got.Replicas > in.Max {
				t.Fatalf("trial %d: %d replicas of %d to %d", trial, got.Replicas, in.Min, in.Max)
			}
			if in.Before != nil {
				directions[0] = directions[0] || got.Replicas > last.Replicas
				directions[1] = directions[1] || got.Replicas < last.Replicas
			}
			last = got
			in.Before, in.Now = &got, in.Now.Add(time.Minute)
		}
		if directions[0] && directions[1] {
			t.Errorf("trial %d: up and down: %+v", trial, in)
		}
		if !last.LowerSince.IsZero() {
			t.Errorf("trial %d: not at rest after 200 minutes: %+v", trial, last)
		}
	}
}

// TestDoesNotFollowNoise: a load that swings faster than Patience moves the number at most once.
func TestDoesNotFollowNoise(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	in := Input{Min: 2, Max: 16, ProxiesPerReplica: 500, Running: 2, Now: start}
	changes, before := 0, int32(2)
	for minute := range 600 {
		in.Proxies = count(1000 + r.Int32N(900)) // 2 to 4 replicas
		if minute%4 == 0 {
			in.Proxies = count(1999)
		}
		got := Next(in)
		if got.Replicas != before {
			changes++
		}
		before = got.Replicas
		in.Before, in.Now = &got, in.Now.Add(time.Minute)
	}
	if changes > 1 || before != 4 {
		t.Errorf("%d changes, %d replicas at the end", changes, before)
	}
}
