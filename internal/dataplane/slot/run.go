// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package slot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
	"time"

	"tulle.dev/tulle/internal/protocol"
)

// Config is how a slot runs.
type Config struct {
	Slot    string // "a" or "b"
	Version string // of the image; shown in State
	Layout  Layout
	Agent   string    // path of the program started with the argument "agent"
	Log     io.Writer // one line per change
	// StartLimit is how long the pod's first proxy may take to get ready before this slot gives up; see
	// giveUp. If zero, it never does.
	StartLimit time.Duration
}

// Delays between starts of an agent that dies: doubled from the first to the last; back to the first
// after an agent has lived for backoffReset.
const (
	backoffFirst = 100 * time.Millisecond
	backoffLast  = 15 * time.Second
	backoffReset = time.Minute
)

// slot is the state of a running pid 1. Only the loop's goroutine touches it.
type slot struct {
	Config
	state      protocol.State // as last published
	generation int64          // under which this slot is active, or was
	lock       *lock          // held while active and Ready
	agent      *child
	started    time.Time // of the agent
	backoff    time.Duration
	again      <-chan time.Time // when to start the agent again
	running    bool             // told to be active
	leaving    bool             // drains because the other slot serves
	stopping   bool             // got SIGTERM
	ending     bool
	otherReady time.Time // when the other slot was last seen Ready
	born       time.Time
	gaveUp     error // why this process ends although nobody stopped it
}

// Run is pid 1 of a slot: it returns only after a SIGTERM, when the agent has drained and exited, with an
// error when it gave up (Config.StartLimit), or when the shared directory can't be used at all.
func Run(c Config) error {
	if c.Slot != "a" && c.Slot != "b" {
		return fmt.Errorf("%s=%q: must be a or b", protocol.EnvSlot, c.Slot)
	}
	if err := c.Layout.makeDirs(); err != nil {
		return err
	}
	alive, err := c.alive()
	if err != nil {
		return err
	}
	defer alive.release()
	if err := os.Remove(c.Layout.at(protocol.EndingFile(c.Slot))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the former ending: %w", err)
	}
	if err := adoptOrphans(); err != nil {
		return err
	}
	l := c.Layout
	changed, stop, err := watch(l.Pod, l.Root, l.at(protocol.SlotDir("a")), l.at(protocol.SlotDir("b")))
	if err != nil {
		return err
	}
	defer stop()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	defer signal.Stop(signals)

	s := &slot{Config: c, backoff: backoffFirst, otherReady: time.Now(), born: time.Now()}
	s.say(protocol.PhaseStandby, "")
	return s.loop(changed, signals)
}

// alive takes the lock that says this pid 1 lives. A reader may have it for an instant, so it is tried again.
func (c Config) alive() (*lock, error) {
	for {
		l, err := tryLock(c.Layout.at(protocol.AliveFile(c.Slot)))
		if !errors.Is(err, errHeld) {
			return l, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *slot) loop(changed <-chan struct{}, signals <-chan os.Signal) error {
	for {
		s.giveUp()
		if s.stopping && s.agent == nil {
			s.say(protocol.PhaseStandby, "stopped")
			return s.gaveUp
		}
		s.elect()
		var reports chan Report
		if s.agent != nil {
			reports = s.agent.reports
		}
		// The standby has to look at the clock only to help out; an active slot that waits for the lock
		// of its predecessor looks often.
		tick := takeover / 4
		if !s.running {
			tick = absence / 2 // the end of the other slot's process is no event
		}
		if s.state.Phase == protocol.PhaseReady && s.lock == nil {
			tick = 100 * time.Millisecond
		}
		if s.StartLimit > 0 {
			tick = min(tick, s.StartLimit/4)
		}
		clock := time.NewTimer(tick)
		select {
		case <-changed:
		case <-clock.C:
		case <-s.again:
			s.again = nil
			s.launch()
		case r, ok := <-reports:
			if ok {
				s.hear(r)
			} else {
				s.agent.reports = nil // the rest comes with its SIGCHLD
			}
		case sig := <-signals:
			s.signal(sig)
		}
		clock.Stop()
	}
}

// elect looks at the shared files and does what decide says.
func (s *slot) elect() {
	if s.stopping || s.leaving {
		return
	}
	target, err := s.Layout.Target()
	if err != nil {
		s.log("%v; nothing changes until it is mended", err)
		return
	}
	peer, err := s.Layout.State(other(s.Slot))
	if err != nil {
		s.log("%v; taken for absent", err)
	}
	now := time.Now()
	if peer.Phase == protocol.PhaseReady {
		s.otherReady = now
	}
	if _, err := os.Stat(s.Layout.at(protocol.EndingFile(s.Slot))); err == nil && !s.ending {
		s.ending = true
		s.log("The pod is ending")
		if s.agent != nil {
			s.agent.tell(CommandEnding)
		}
	}
	d := decide(view{
		Me: s.Slot, Version: s.Version, Target: target, Other: peer, OtherUnready: now.Sub(s.otherReady),
		Running: s.running, Generation: s.generation, Begun: s.Layout.begun(), Ending: s.ending,
	})
	switch d.Do {
	case start:
		s.running, s.generation = true, d.Generation
		s.say(protocol.PhaseStarting, "")
		s.launch()
	case raise:
		s.generation = d.Generation
		s.say(s.state.Phase, s.state.Message)
	case leave:
		s.running, s.leaving = false, true
		s.unlock()
		s.say(protocol.PhaseDraining, "slot "+other(s.Slot)+" serves")
		if s.agent == nil {
			s.settle()
			return
		}
		s.agent.tell(CommandHandover)
	case stay:
	}
	if s.state.Phase == protocol.PhaseReady && s.lock == nil {
		s.lock, _ = tryLock(s.Layout.at(protocol.LockFile)) // held by the other slot until it has seen this one Ready
	}
}

// launch starts the agent, or says why not and tries again later.
func (s *slot) launch() {
	if !s.running || s.agent != nil || s.stopping {
		return
	}
	a, err := startAgent(s.Agent, os.Environ())
	if err != nil {
		s.retry(err.Error())
		return
	}
	s.agent, s.started = a, time.Now()
	if s.ending {
		a.tell(CommandEnding)
	}
}

// retry plans the next start of the agent.
func (s *slot) retry(why string) {
	s.say(protocol.PhaseFailed, why)
	s.again = time.After(s.backoff)
	s.backoff = min(2*s.backoff, backoffLast)
}

// hear takes over what the agent says of itself.
func (s *slot) hear(r Report) {
	if s.leaving || s.stopping {
		return
	}
	s.say(r.Phase, r.Message)
}

func (s *slot) signal(sig os.Signal) {
	if sig != syscall.SIGCHLD {
		s.stop("got " + sig.String())
		return
	}
	for pid, status := range reap() {
		if s.agent == nil || pid != s.agent.pid {
			s.log("Process %d, left behind by an agent, %s", pid, ended(status))
			continue
		}
		s.agent.forget()
		s.agent = nil
		switch {
		case s.leaving:
			s.settle()
		case s.stopping: // the loop ends
		default:
			if time.Since(s.started) > backoffReset {
				s.backoff = backoffFirst
			}
			why := "agent " + ended(status)
			if s.state.Phase == protocol.PhaseFailed && s.state.Message != "" {
				why = s.state.Message // the agent's own last word says more
			}
			s.retry(why)
		}
	}
}

// stop ends the slot once its agent has ended.
func (s *slot) stop(why string) {
	s.stopping = true
	s.unlock()
	s.say(protocol.PhaseDraining, why)
	if s.agent != nil {
		s.agent.tell(CommandStop)
	}
}

// settle makes this slot the standby again.
func (s *slot) settle() {
	s.leaving, s.running, s.backoff, s.again = false, false, backoffFirst, nil
	s.otherReady = time.Now()
	s.say(protocol.PhaseStandby, "")
}

// unlock gives up the lock of the active slot, if this slot has it.
func (s *slot) unlock() {
	s.lock.release()
	s.lock = nil
}

// say publishes the phase, once per change. A slot that can't write goes on: its log says so.
func (s *slot) say(p protocol.Phase, message string) {
	n := protocol.State{
		Slot: s.Slot, Phase: p, Generation: s.generation, Version: s.Version,
		Message: message, Since: s.state.Since, PID: os.Getpid(),
	}
	if n == s.state {
		return
	}
	if p != s.state.Phase || message != s.state.Message {
		s.log("%s, generation %d %s", p, n.Generation, message)
	}
	if p != s.state.Phase {
		n.Since = time.Now().UTC().Truncate(time.Second)
	}
	s.state = n
	if err := s.Layout.writeState(n); err != nil {
		s.log("%v", err)
	}
}

func (s *slot) log(format string, args ...any) {
	fmt.Fprintf(s.Log, "%s slot %s: %s\n", time.Now().UTC().Format(time.RFC3339), s.Slot, fmt.Sprintf(format, args...))
}
