// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/names"
)

func slice(name, service string, ready map[string]bool) source.Event {
	k := model.Key{Namespace: "tulle-system", Name: name}
	s := model.Slice{Key: k, Service: model.Key{Namespace: "tulle-system", Name: service}}
	for a, r := range ready {
		s.Endpoints = append(s.Endpoints, model.SliceEndpoint{Addr: netip.MustParseAddr(a), Ready: r})
	}
	return source.Event{Kind: source.EndpointSlice, Key: k, Object: s}
}

func gone(name string) source.Event {
	return source.Event{Kind: source.EndpointSlice, Key: model.Key{Namespace: "tulle-system", Name: name}}
}

// TestServing: who may write status follows the Service, and who is asked follows all revisions.
func TestServing(t *testing.T) {
	const old, fresh = "192.0.2.1", "192.0.2.2"
	elsewhere := slice("x", names.ControlPlaneService, map[string]bool{fresh: true})
	stranger := elsewhere.Object.(model.Slice)
	stranger.Service.Namespace = "shop"
	elsewhere.Object = stranger
	for name, c := range map[string]struct {
		self   string
		events []source.Event
		serves bool
		all    []string
	}{
		"nothing is there yet":          {old, nil, false, nil},
		"not ready yet":                 {old, []source.Event{slice("s", names.ControlPlaneService, map[string]bool{old: false})}, false, nil},
		"alone":                         {old, []source.Event{slice("s", names.ControlPlaneService, map[string]bool{old: true})}, true, []string{old}},
		"no longer ready":               {old, []source.Event{slice("s", names.ControlPlaneService, map[string]bool{old: true}), slice("s", names.ControlPlaneService, map[string]bool{old: false})}, false, nil},
		"the Service has gone":          {old, []source.Event{slice("s", names.ControlPlaneService, map[string]bool{old: true}), gone("s")}, false, nil},
		"its address is not known":      {"", []source.Event{slice("s", names.ControlPlaneService, map[string]bool{old: true})}, false, []string{old}},
		"IPv6, written otherwise":       {"2001:DB8:0::1", []source.Event{slice("s", names.ControlPlaneService, map[string]bool{"2001:db8::1": true})}, true, []string{"2001:db8::1"}},
		"another namespace's Service":   {fresh, []source.Event{elsewhere}, false, nil},
		"in the shadow":                 {fresh, []source.Event{slice("s", names.ControlPlaneService, map[string]bool{old: true}), slice("r", names.ControlPlaneReplicas, map[string]bool{old: true, fresh: true})}, false, []string{old, fresh}},
		"beside one in the shadow":      {old, []source.Event{slice("s", names.ControlPlaneService, map[string]bool{old: true}), slice("r", names.ControlPlaneReplicas, map[string]bool{old: true, fresh: true})}, true, []string{old, fresh}},
		"the Service has moved to it":   {fresh, []source.Event{slice("s", names.ControlPlaneService, map[string]bool{old: true}), slice("s", names.ControlPlaneService, map[string]bool{fresh: true}), slice("r", names.ControlPlaneReplicas, map[string]bool{old: true, fresh: true})}, true, []string{old, fresh}},
		"the Service has moved from it": {old, []source.Event{slice("s", names.ControlPlaneService, map[string]bool{old: true}), slice("s", names.ControlPlaneService, map[string]bool{fresh: true}), slice("r", names.ControlPlaneReplicas, map[string]bool{old: true, fresh: true})}, false, []string{old, fresh}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &feed{system: "tulle-system", self: c.self, peers: peers{}, moved: make(chan struct{})}
			for _, e := range c.events {
				before, _ := f.serving()
				_, changed := f.serving()
				f.note(e, nil)
				if after, _ := f.serving(); after != before {
					select {
					case <-changed:
					default:
						t.Error("changed, and nobody was told")
					}
				}
			}
			if got, _ := f.serving(); got != c.serves {
				t.Errorf("serves: %v", got)
			}
			if got := f.peers.addresses(); !slices.Equal(got, c.all) {
				t.Errorf("replicas %v, want %v", got, c.all)
			}
		})
	}
}

// office says who may stand, as the feed does.
type office struct {
	mu      sync.Mutex
	asked   int
	may     bool
	changed chan struct{}
}

func (o *office) standing() (bool, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	return o.may, o.changed
}

func (o *office) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked
}

func (o *office) set(may bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.may = may
	close(o.changed)
	o.changed = make(chan struct{})
}

// TestCampaign: a replica stands only while it serves, steps down when it no longer does, and stands
// again when it does again; other changes don't disturb it.
func TestCampaign(t *testing.T) {
	o := &office{changed: make(chan struct{})}
	began, ended := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- campaign(ctx, o.standing, func(ctx context.Context) error {
			began <- struct{}{}
			<-ctx.Done()
			ended <- struct{}{}
			return nil
		})
	}()
	o.set(false)
	for range 2 {
		select {
		case <-began:
			t.Fatal("stood without serving")
		default:
		}
		o.set(true)
		<-began
		before := o.count()
		o.set(true) // a replica beside it came or went
		for o.count() == before {
			select {
			case <-ended:
				t.Fatal("stepped down while serving")
			default:
				runtime.Gosched()
			}
		}
		o.set(false)
		<-ended
	}
	o.set(true)
	<-began
	cancel()
	<-ended
	if err := <-done; err != nil {
		t.Error(err)
	}

	o.set(true)
	broken := errors.New("no Leases here")
	if err := campaign(t.Context(), o.standing, func(context.Context) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}
