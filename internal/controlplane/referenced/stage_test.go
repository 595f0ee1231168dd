// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package referenced

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
)

// running is a Stage with a reader that the test controls.
type running struct {
	*rig
	stage   *Stage
	batches chan []source.Event
	passedC chan []source.Event

	mu    sync.Mutex
	gates map[string]chan struct{} // reads of these names wait
	calls map[string]int
	most  int // reads at a time
	open  int
}

func run(t *testing.T, slow ...string) *running {
	r := &running{
		rig: newRig(t), stage: New(logr.Discard()), batches: make(chan []source.Event), passedC: make(chan []source.Event, 100),
		gates: map[string]chan struct{}{}, calls: map[string]int{},
	}
	for _, name := range slow {
		r.gates[name] = make(chan struct{})
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.stage.Run(ctx, r.batches, r.read, func(b []source.Event) { r.passedC <- b })
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return r
}

func (r *running) read(ctx context.Context, _ source.Kind, k model.Key) (any, string, error) {
	r.mu.Lock()
	r.calls[k.Name]++
	gate := r.gates[k.Name]
	r.open++
	r.most = max(r.most, r.open)
	version := string(rune('0' + r.calls[k.Name]))
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.open--
		r.mu.Unlock()
	}()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, "", ctx.Err()
		}
	}
	return "version " + version, version, nil
}

// until takes what is passed on until an object says something.
func (r *running) until(name, want string) {
	r.t.Helper()
	deadline := time.After(30 * time.Second)
	for r.passed[name] != want {
		select {
		case b := <-r.passedC:
			r.got(b)
		case <-deadline:
			r.t.Fatalf("%s does not say %q; passed on are %v", name, want, r.passed)
		}
	}
}

// TestSlowReads: reads that take long keep nothing of others waiting, and are few at a time.
func TestSlowReads(t *testing.T) {
	slow := []string{"s0", "s1", "s2", "s3", "s4", "s5", "s6"}
	r := run(t, slow...)
	r.batches <- nil
	r.batches <- []source.Event{r.gateway("a", append(slow, "q0", "q1", "q2")...)}
	r.batches <- []source.Event{r.gateway("b", "good"), pod("p")}
	r.until("Gateway b/gw", "good")
	r.until("Pod a/p", "a pod")
	if _, there := r.passed["Gateway a/gw"]; there {
		t.Error("the Gateway did not wait for its Secrets")
	}
	for _, g := range r.gates {
		close(g)
	}
	r.until("Gateway a/gw", "s0 s1 s2 s3 s4 s5 s6 q0 q1 q2")
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.most > maxReads {
		t.Errorf("%d reads at a time", r.most)
	}
}

// TestNotifications: a change of the metadata of what is referred to has it read again, once, and nothing else.
func TestNotifications(t *testing.T) {
	r := run(t)
	r.batches <- []source.Event{r.gateway("a", "one")}
	r.until("Secret a/one", "version 1")
	told := r.stage.Referenced()
	one := model.Key{Namespace: "a", Name: "one"}
	if told.Wanted(source.TLSSecret, model.Key{Namespace: "a", Name: "other"}) || told.Wanted(source.CAConfigMap, one) || !told.Wanted(source.TLSSecret, one) {
		t.Error("something else is wanted")
	}
	told.Changed(source.TLSSecret, model.Key{Namespace: "a", Name: "other"}, "7")
	told.Changed(source.TLSSecret, one, "1")
	told.Listed(source.TLSSecret, map[model.Key]string{one: "1"})
	told.Changed(source.TLSSecret, one, "9")
	r.until("Secret a/one", "version 2")
	told.Listed(source.TLSSecret, map[model.Key]string{})
	r.until("Secret a/one", "version 3")
	told.Unwatched(source.TLSSecret)
	r.until("Secret a/one", "version 4")
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.calls) != 1 {
		t.Errorf("read were %v", r.calls)
	}
}
