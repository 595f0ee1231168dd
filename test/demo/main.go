// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"tulle.dev/tulle/internal/lifecycle/release"
)

// options are the command line.
type options struct {
	rate          float64
	before, after time.Duration
	keep, inside  bool
	upgrade       bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var o options
	flag.Float64Var(&o.rate, "rate", 50, "requests per second of each of the two streams")
	flag.DurationVar(&o.before, "before", 10*time.Second, "time of traffic before the weights move")
	flag.DurationVar(&o.after, "after", 15*time.Second, "time of traffic after they moved")
	flag.BoolVar(&o.keep, "install-only", false, "stop once the shop runs")
	flag.BoolVar(&o.inside, "inside", false, "call the Gateway from a pod outside the mesh even if its address can be reached from here")
	flag.BoolVar(&o.upgrade, "upgrade", false, "upgrade the mesh under load instead of splitting traffic")
	flag.Parse()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

// step is one line of the demo's progress.
type step struct {
	title string
	do    func(context.Context) error
}

func run(ctx context.Context, o options) error {
	k, err := connect()
	if err != nil {
		return err
	}
	d := &demo{kube: k, say: newSpeaker(os.Stdout), options: o}
	steps, conclude := d.story()
	start := time.Now()
	for i, s := range steps {
		began := time.Now()
		d.say.heading(fmt.Sprintf("[%d/%d] %s", i+1, len(steps), s.title))
		if err := s.do(ctx); err != nil {
			if errors.Is(ctx.Err(), context.Canceled) {
				return errors.New("interrupted")
			}
			return fmt.Errorf("%s: %w", strings.ToLower(s.title[:1])+s.title[1:], err)
		}
		d.say.line("done in %s", time.Since(began).Round(100*time.Millisecond))
	}
	d.say.heading(fmt.Sprintf("All of it in %s.", time.Since(start).Round(time.Second)))
	return conclude()
}

// story is what the demo does, and how it ends.
func (d *demo) story() (steps []step, conclude func() error) {
	mesh := step{"Make a mesh", d.makeMesh}
	if d.options.upgrade {
		mesh = step{"Have a mesh of release " + before(), d.oldMesh}
	}
	steps = []step{
		{"Look at the cluster", d.look},
		{"Install the operator", d.installOperator},
		mesh,
		{"Deploy the shop", d.deployShop},
		{"Open the way in: a Gateway and its route", d.openGateway},
	}
	switch {
	case d.keep:
		return steps, func() error { return nil }
	case d.options.upgrade:
		return append(steps,
			step{"Run more replicas", d.moreReplicas},
			step{"Send traffic, and upgrade to " + release.Current + " meanwhile", d.upgrade},
		), d.concludeUpgrade
	}
	return append(steps,
		step{"Split the reviews 90/10", d.splitFirst},
		step{"Send traffic, and move the weights to 50/50 meanwhile", d.traffic},
	), d.conclude
}
