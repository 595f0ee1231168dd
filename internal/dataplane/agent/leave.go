// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package agent

import (
	"context"
	"time"

	"tulle.dev/tulle/internal/dataplane/envoy"
	"tulle.dev/tulle/internal/dataplane/slot"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// killAfter is how long Envoy gets between SIGTERM and SIGKILL; it ends within milliseconds.
const killAfter = 5 * time.Second

// drainSlack is how much later than Envoy's own the agent's drain time ends.
const drainSlack = 300 * time.Millisecond

// end makes clients go elsewhere while everything goes on being served: the pod is ending, and the
// application is still there.
func (a *agent) end(ctx context.Context) {
	if a.ending {
		return
	}
	a.ending = true
	a.log.Info("The pod is ending: sending clients elsewhere")
	if a.process == nil {
		return
	}
	how := envoy.DrainInboundOpen
	if a.Kind == names.KindGateway {
		how = envoy.DrainAllOpen
	}
	a.drain(ctx, how)
}

func (a *agent) drain(ctx context.Context, how envoy.Drain) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := a.admin.Drain(ctx, how); err != nil {
		a.log.Error("Draining Envoy failed", "error", err)
	}
}

// leave ends Envoy in order: on CommandHandover the other slot's Envoy serves already, and this one
// closes when its clients have gone over; on CommandStop the application has gone, and only what is
// still being answered is waited for. A stop shortens a handover.
func (a *agent) leave(ctx context.Context, cmd slot.Command, commands <-chan slot.Command) {
	// The other slot serves the pod: whoever is still being answered by this one hears so.
	a.replaced = cmd == slot.CommandHandover
	a.say(slot.Report{Phase: protocol.PhaseDraining, Message: string(cmd)})
	if a.process == nil {
		return
	}
	if cmd == slot.CommandHandover {
		a.closeListeners() // the other agent has them
		a.drain(ctx, envoy.DrainGracefully)
		// Envoy counts the same time; it is given a little more, so that its sockets are closed for sure.
		cmd = a.await(ctx, commands, a.drainTime()+drainSlack, func(envoy.Activity) bool { return false })
	}
	if cmd == slot.CommandHandover {
		cmd = a.await(ctx, commands, a.drainTime(), func(now envoy.Activity) bool { return now.All == 0 })
	}
	if cmd == slot.CommandStop {
		how := envoy.CloseInbound
		if a.Kind == names.KindGateway {
			how = envoy.CloseAll
		}
		a.drain(ctx, how)
		a.await(ctx, nil, a.drainTime(), func(now envoy.Activity) bool { return now.Active == 0 })
	}
	if ctx.Err() == nil {
		a.process.Stop(killAfter)
		a.log.Info("Envoy ended", "how", a.process.How())
	}
}

// await returns when enough is true of what goes on in Envoy, Envoy has ended, the limit has passed,
// or a stop was ordered; it returns CommandStop in that last case only.
func (a *agent) await(ctx context.Context, commands <-chan slot.Command, limit time.Duration, enough func(envoy.Activity) bool) slot.Command {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	clock := time.NewTicker(100 * time.Millisecond)
	defer clock.Stop()
	for {
		if now, err := a.activity(ctx); err == nil && enough(now) {
			return slot.CommandHandover
		}
		select {
		case <-ctx.Done():
			return slot.CommandHandover
		case <-a.process.Done():
			return slot.CommandHandover
		case <-deadline.C:
			return slot.CommandHandover
		case cmd, ok := <-commands:
			if !ok || cmd == slot.CommandStop {
				return slot.CommandStop
			}
		case <-clock.C:
		}
	}
}

func (a *agent) activity(ctx context.Context) (envoy.Activity, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return a.admin.Activity(ctx, a.Kind)
}
