// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package agent

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"tulle.dev/tulle/internal/dataplane/controlplane"
	"tulle.dev/tulle/internal/dataplane/envoy"
	"tulle.dev/tulle/internal/dataplane/identity"
	"tulle.dev/tulle/internal/dataplane/metrics"
	"tulle.dev/tulle/internal/dataplane/relay"
	"tulle.dev/tulle/internal/dataplane/slot"
	"tulle.dev/tulle/internal/dataplane/steer"
	"tulle.dev/tulle/internal/dataplane/tally"
	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// defaultDrain is how long connections get to end unless the scope says otherwise.
const defaultDrain = 30 * time.Second

// Envoy's main thread answers the agent, and its workers serve. It may be late while it is busy with a large
// change or with statistics that somebody asks for: that says nothing about the workers.
const (
	// maxSilent is how often in a row an Envoy that serves may not answer in time although its main thread has
	// nothing to do.
	maxSilent = 5
	// maxBusy is how often in a row it may not answer in all. One look takes two seconds.
	maxBusy = 150
)

// Delays between starts of an Envoy that dies: doubled from the first to the last; back to the first
// after one has lived for backoffReset.
const (
	backoffFirst = 100 * time.Millisecond
	backoffLast  = 10 * time.Second
	backoffReset = time.Minute
)

// settleEvery is how often it is looked whether the other slot's Envoy still listens, which costs time
// in proportion to the pod's connections.
const settleEvery = 3 * time.Second

// health is what the agent's ports show of it, published as a whole.
type health struct {
	Phase   protocol.Phase `json:"phase"`
	Message string         `json:"message,omitempty"`
	// Serving: Envoy serves and the pod is not ending.
	Serving bool `json:"serving"`
}

// agent is a running agent. What is not marked otherwise belongs to the goroutine of run.
type agent struct {
	Settings
	log    *slog.Logger
	report func(slot.Report)

	// Safe for concurrent use.
	keeper  *identity.Keeper
	relay   *relay.Loop
	admin   *envoy.Admin
	metrics *metrics.Registry
	reports *reporter
	health  atomic.Pointer[health]
	endings chan struct{} // capacity 1: something says that the pod is ending
	proxies chan protocol.Proxy
	renewed chan struct{} // capacity 1

	proxy     *protocol.Proxy // nil: not known yet
	process   *envoy.Process  // nil: none runs
	started   time.Time
	envoys    uint64 // started by this agent
	restarts  uint64 // of them, or of the adopted one, that ended by themselves
	delay     time.Duration
	again     time.Time // when Envoy may be started
	ready     bool      // has been ready since process was started
	silent    int       // how often it has not answered in time since it last did
	stuck     int       // how often in a row it has not, and its main thread was not busy
	main      envoy.MainThread
	steered   bool      // new connections may still be kept from the other slot's Envoy
	looked    time.Time // when that was last looked at
	ending    bool
	replaced  bool // the other slot has taken over
	said      slot.Report
	listeners map[string]net.Listener
	unoffer   func()
}

// The counter of mourn.
const (
	restartsName = "tulle_agent_envoy_restarts_total"
	restartsHelp = "How often Envoy ended by itself and was started again."
)

// Run is the agent. It returns when it was told to stop or hand over and Envoy has ended, or when ctx
// is done, and then leaves Envoy running. report is called with every change of the phase.
func Run(ctx context.Context, s Settings, commands <-chan slot.Command, report func(slot.Report), log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := &agent{
		Settings: s, log: log, report: report,
		admin: envoy.NewAdmin(s.AdminSocket), metrics: &metrics.Registry{},
		endings: make(chan struct{}, 1), proxies: make(chan protocol.Proxy, 1), renewed: make(chan struct{}, 1),
		delay: backoffFirst,
	}
	a.health.Store(&health{Phase: protocol.PhaseStarting})
	a.metrics.Expect(restartsName, restartsHelp)
	a.metrics.Expect(closedName, closedHelp)
	n := s.node()
	a.relay = relay.NewLoop(s.scope(), wire.Node(n.ID, n.Cluster, n.Metadata), a.tune, log)
	a.reports = newReporter(func(ctx context.Context) (tally.Sample, error) { return a.admin.Sample(ctx, s.Kind) }, a.inform, log)
	dialer := controlplane.Dialer{Host: s.ControlPlane, AddressesFile: s.AddressesFile}
	dial := func(port int) func(context.Context, *tls.Config) (net.Conn, error) {
		return func(ctx context.Context, c *tls.Config) (net.Conn, error) { return dialer.Dial(ctx, port, c) }
	}
	signer := &identity.Signer{
		Addr: s.at(names.PortSign), Dial: dial(names.PortSign), Host: s.ControlPlane, TokenFile: s.TokenFile, TrustFile: s.TrustFile, Pod: s.Pod, PodUID: s.PodUID,
	}
	first := make(chan struct{})
	a.keeper = identity.NewKeeper(signer.Sign, a.identify(first), log)

	failed := make(chan error, 1)
	go a.relay.Run(ctx)
	go func() { failed <- a.relay.Serve(ctx, s.XDSSocket) }()
	go a.keeper.Run(ctx)
	go a.reports.run(ctx)
	go func() {
		select {
		case <-first:
			a.relay.Connect(ctx, relay.Upstream{Addr: s.at(names.PortADS), Dial: dial(names.PortADS), TLS: a.clientTLS, Renew: a.renewed, Log: log})
		case <-ctx.Done():
		}
	}()
	defer a.closeListeners()
	return a.run(ctx, commands, failed)
}

// tune takes over how the control plane wants Envoy to be run. Only the newest counts.
func (a *agent) tune(p protocol.Proxy) {
	a.keeper.SetLifetime(time.Duration(p.CertificateLifetime))
	if p.RenewIssuedBefore > 0 {
		a.keeper.RenewIssuedBefore(time.Unix(p.RenewIssuedBefore, 0))
	}
	select {
	case <-a.proxies:
	default:
	}
	a.proxies <- p
}

// identify passes a new certificate to Envoy and to the stream; first is closed with the first one.
func (a *agent) identify(first chan struct{}) func(*identity.Certificate) {
	had := false
	return func(c *identity.Certificate) {
		sum := sha256.Sum256(c.Chain)
		a.relay.SetLocal(wire.SecretType, wire.NewResource(wire.SecretType, names.Identity,
			hex.EncodeToString(sum[:12]), wire.TLSSecret(names.Identity, c.Chain, c.Key)))
		a.metrics.Set("tulle_agent_certificate_expiry_seconds", "When the workload certificate ends, in seconds since 1970.", float64(c.NotAfter.Unix()))
		if !had {
			had = true
			close(first)
			return
		}
		select {
		case a.renewed <- struct{}{}:
		default:
		}
	}
}

// inform tells the control plane how the proxy does.
func (a *agent) inform(r protocol.Report) {
	node, err := a.note(r)
	if err != nil {
		a.log.Error("Encoding a report failed", "error", err)
		return
	}
	a.relay.Tell(protocol.ReportType, node)
}

// clientTLS is for a connection to the control plane: the roots are read anew.
func (a *agent) clientTLS() (*tls.Config, error) {
	roots, err := identity.ReadRoots(a.TrustFile)
	if err != nil {
		return nil, err
	}
	c := a.keeper.Current()
	if c == nil {
		return nil, errors.New("there is no certificate yet")
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: a.ControlPlane, Certificates: []tls.Certificate{c.TLS},
	}, nil
}

// run is the agent's own goroutine.
func (a *agent) run(ctx context.Context, commands <-chan slot.Command, failed <-chan error) error {
	if a.process = envoy.Adopt(a.Dir); a.process != nil {
		a.log.Info("Adopted the Envoy of a former agent", "pid", a.process.PID)
		a.started = time.Now()
	}
	for {
		a.supervise(ctx)
		var done <-chan struct{}
		if a.process != nil {
			done = a.process.Done()
		}
		// Until it is ready it is looked at often, because a pod's start waits for it.
		pause := time.Second
		if !a.ready {
			pause = 50 * time.Millisecond
		}
		clock := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			if ctx.Err() == nil {
				return fmt.Errorf("the agent's socket for Envoy: %w", err)
			}
		case <-done:
			a.mourn()
		case p := <-a.proxies:
			a.retune(ctx, p)
		case <-a.endings:
			a.end(ctx)
		case cmd, ok := <-commands:
			if !ok {
				cmd = slot.CommandStop // the slot has died
			}
			if cmd != slot.CommandEnding {
				a.leave(ctx, cmd, commands)
				return nil
			}
			a.end(ctx)
		case <-clock.C:
		}
		clock.Stop()
	}
}

// supervise starts Envoy if there is none, and looks how it is.
func (a *agent) supervise(ctx context.Context) {
	if a.process == nil {
		a.launch()
	}
	lacks := a.lacks(ctx)
	if lacks == "" && !a.ready {
		a.takeOver()
	}
	if lacks == "" && a.listeners == nil {
		a.publish(slot.Report{Phase: protocol.PhaseReady}) // before anybody can ask
		if err := a.open(); err != nil {
			lacks = err.Error()
		}
	}
	if a.steered && a.process != nil && time.Since(a.looked) > settleEvery {
		a.settle()
	}
	r := slot.Report{Phase: protocol.PhaseReady}
	switch {
	case lacks != "":
		r = slot.Report{Phase: protocol.PhaseStarting, Message: lacks}
	case a.ending:
		r.Message = "the pod is ending"
	}
	a.ready = lacks == ""
	a.say(r)
}

// launch starts Envoy once everything that it needs from the beginning is there.
func (a *agent) launch() {
	if a.proxy == nil || a.keeper.Current() == nil || time.Now().Before(a.again) {
		return
	}
	n, files := a.node(), envoy.FileLimit()
	if files > 0 && files < envoy.FewFiles {
		a.log.Warn("The container runtime allows few open files: Envoy takes fewer connections, and ends when it has used all; raise the runtime's limit (LimitNOFILE)", "limit", files)
	}
	config, err := envoy.Bootstrap(envoy.Settings{
		Node: n, Kind: a.Kind, AdminSocket: a.AdminSocket, XDSSocket: a.XDSSocket, Heap: envoy.HeapLimit(), Files: files,
	})
	if err == nil {
		a.process, err = envoy.Start(envoy.Options{
			Binary: a.EnvoyBinary, Dir: a.Dir, Bootstrap: config,
			Concurrency: a.proxy.Concurrency, LogLevel: a.proxy.LogLevel, Drain: a.drainTime(),
		})
	}
	if err != nil {
		a.log.Error("Starting Envoy failed", "error", err)
		a.again = time.Now().Add(a.delay)
		a.delay = min(2*a.delay, backoffLast)
		return
	}
	a.started = time.Now()
	a.envoys++
	a.log.Info("Started Envoy", "pid", a.process.PID)
}

// takeOver makes new connections come to this slot's Envoy, should the other slot's still listen: it
// closes its sockets soon after this slot has said that it is ready.
func (a *agent) takeOver() {
	a.steered = true
	if err := steer.Take(a.process.PID, a.SteerLock); err != nil {
		a.log.Warn("Taking connections over failed: some may be reset", "error", err)
	}
}

// settle ends the steering when the other slot's Envoy no longer listens.
func (a *agent) settle() {
	a.looked = time.Now()
	done, err := steer.Release(a.process.PID, a.SteerLock)
	if err != nil {
		a.log.Warn("Ending the steering of connections failed", "error", err)
	}
	a.steered = !done
}

// mourn plans the next start of an Envoy that ended by itself.
func (a *agent) mourn() {
	a.log.Error("Envoy ended", "pid", a.process.PID, "how", a.process.How())
	a.metrics.Count(restartsName, restartsHelp)
	if time.Since(a.started) > backoffReset {
		a.delay = backoffFirst
	}
	a.again = time.Now().Add(a.delay)
	a.delay = min(2*a.delay, backoffLast)
	a.process, a.ready, a.silent, a.stuck = nil, false, 0, 0
	a.restarts++
	a.relay.EnvoyReplaced()
}

// lacks says in words what is missing before the proxy serves; "" if nothing.
func (a *agent) lacks(ctx context.Context) string {
	if a.process == nil {
		switch {
		case a.keeper.Current() == nil:
			if err := a.keeper.Failure(); err != nil {
				return err.Error()
			}
			return "waiting for a certificate"
		case a.proxy == nil:
			return a.relay.Waiting()
		}
		return "Envoy is about to be started"
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if a.ready {
		// It has been ready. What it gets from now on may warm as long as it likes.
		err := a.admin.Live(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			a.silent, a.stuck = 0, 0
		} else if !a.overdue() {
			return ""
		}
		if err != nil {
			return err.Error()
		}
		return ""
	}
	a.silent, a.stuck = 0, 0
	// An adopted Envoy serves with what it has, whether or not the control plane is there.
	if !a.process.Adopted {
		if w := a.relay.Waiting(); w != "" {
			return w
		}
	}
	lacks, err := a.admin.Ready(ctx, a.relay.Idle())
	if err != nil {
		return err.Error()
	}
	return lacks
}

// overdue counts a missing answer of an Envoy that has served, and reports whether it no longer serves.
func (a *agent) overdue() bool {
	a.silent++
	a.stuck++
	if a.main.Busy(a.process) {
		a.stuck = 0
	}
	return a.stuck >= maxSilent || a.silent >= maxBusy
}

// retune takes over new settings: the log level at once, the rest with the next Envoy.
func (a *agent) retune(ctx context.Context, p protocol.Proxy) {
	old := a.proxy
	a.proxy = &p
	if a.process == nil || old != nil && old.LogLevel == p.LogLevel || p.LogLevel == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := a.admin.SetLogLevel(ctx, p.LogLevel); err != nil {
		a.log.Warn("Setting Envoy's log level failed", "level", p.LogLevel, "error", err)
	}
}

func (a *agent) drainTime() time.Duration {
	if a.proxy == nil || a.proxy.Drain <= 0 {
		return defaultDrain
	}
	return time.Duration(a.proxy.Drain)
}

// say reports and publishes the phase, once per change.
func (a *agent) say(r slot.Report) {
	a.reports.see(course{phase: r.Phase, message: r.Message, restarts: a.restarts, envoys: a.envoys, started: a.started})
	if r == a.said {
		return
	}
	a.said = r
	a.log.Info("Phase", "phase", r.Phase, "message", r.Message)
	a.publish(r)
	a.report(r)
}

// publish shows the phase on the agent's ports.
func (a *agent) publish(r slot.Report) {
	a.health.Store(&health{Phase: r.Phase, Message: r.Message, Serving: (r.Phase == protocol.PhaseReady || a.replaced) && !a.ending})
}
