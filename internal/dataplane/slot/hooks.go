// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package slot

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"tulle.dev/tulle/internal/protocol"
)

// WaitLimit ends Wait in a postStart hook, which only pods have that releases before 0.3 injected: while
// such a hook runs the kubelet can't even delete the pod.
const WaitLimit = time.Minute

// Wait returns once a slot of the pod is Ready, or with the reason why none is when ctx is done. It holds
// the application's start. log says why it waits.
func Wait(ctx context.Context, l Layout, log io.Writer) error {
	said := ""
	for began := time.Now(); ; {
		why, ready := l.reasons()
		if ready {
			return nil
		}
		if why != said {
			fmt.Fprintln(log, "Waiting for the proxy:", why)
			said = why
		}
		pause := 50 * time.Millisecond
		if time.Since(began) > time.Minute {
			pause = 500 * time.Millisecond
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the proxy is not ready: %s", why)
		case <-time.After(pause):
		}
	}
}

// reasons says of each slot that is not the standby why it is not Ready.
func (l Layout) reasons() (why string, ready bool) {
	var parts []string
	for _, slot := range []string{"a", "b"} {
		s, err := l.State(slot)
		switch {
		case err != nil:
			parts = append(parts, err.Error())
		case s.Phase == protocol.PhaseReady:
			return "", true
		case s.Phase != "" && s.Phase != protocol.PhaseStandby:
			parts = append(parts, strings.TrimRight(fmt.Sprintf("slot %s is %s: %s", slot, s.Phase, s.Message), ": "))
		}
	}
	if len(parts) == 0 {
		return "no slot has begun", false
	}
	return strings.Join(parts, "; "), false
}

// Drain is the preStop hook of a slot: it leaves word that the container is about to end and returns
// at once. The kubelet runs it when the pod's end begins, before the application's SIGTERM, and
// waits for the application to end before it stops the slot: so there is nothing to wait for here.
func Drain(l Layout, slot string) error {
	f, err := os.Create(l.at(protocol.EndingFile(slot)))
	if err != nil {
		return fmt.Errorf("leave word that the pod ends: %w", err)
	}
	return f.Close()
}

// Hold is the ordinary container of a Gateway's pod, whose proxies are sidecars like anywhere else:
// after ctx is done it waits until the proxy says that clients have gone (or cannot be asked), so
// that the sidecars outlive their traffic. addr is the agent's.
func Hold(ctx context.Context, addr string, log io.Writer) {
	<-ctx.Done()
	fmt.Fprintln(log, "The pod is ending: waiting until clients have gone")
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		fmt.Fprintln(log, "No agent to ask:", err)
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(90 * time.Second))
	// Plain HTTP/1.0 by hand: an HTTP client would cost this process more memory than all else.
	fmt.Fprintf(c, "GET %s HTTP/1.0\r\nHost: tulle\r\n\r\n", protocol.HoldPath)
	answer, err := io.ReadAll(io.LimitReader(c, 4096))
	first, _, _ := strings.Cut(string(answer), "\r\n")
	if err != nil {
		first = err.Error()
	}
	fmt.Fprintln(log, "The proxy answered:", first)
}
