// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/controlplane/ca"
	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/pipeline"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/controlplane/xds"
)

// feed takes batches of events through the graph and hands on what they change. apply is called by
// one goroutine; the look-ups below it by any.
type feed struct {
	graph   *pipeline.Graph
	store   *xds.Store
	ledger  *status.Ledger
	writer  *status.Writer
	mesh    string
	version string
	trust   string
	system  string // the namespace of the control plane
	self    string // this replica's address
	synced  chan struct{}
	asked   *asked
	zones   zones
	log     logr.Logger
	ignored int  // public networks, as last logged
	leftOut bool // there are too many destinations, as last logged
	// amend is Options.Amend.
	amend func([]xds.Change) []xds.Change
	// relocate has the ADS server look again where its clients are. Nil: there is no server.
	relocate func()
	// recheck has the ADS server look again whether the streams of a pod may stay. Nil: there is no server.
	recheck func(pod any)

	mu        sync.RWMutex // guards all below: what other goroutines ask for
	workloads map[model.Key]model.Workload
	// namespaces are the labels of all namespaces, by name.
	namespaces map[string][]model.Label
	active     *v1alpha1.Mesh
	peers      peers
	moved      chan struct{} // closed and replaced when the peers may have changed
	failures   []incr.Failure
	served     ca.Trust // as committed last
}

// clockStep is how finely verdicts see time.
const clockStep = 10 * time.Minute

// run applies batches of events, new roots, the time and what clients ask for until the context ends.
func (f *feed) run(ctx context.Context, batches <-chan []source.Event, current func() (ca.Trust, <-chan struct{}), subscribers status.Acks) error {
	tick := time.NewTicker(clockStep)
	defer tick.Stop()
	for {
		trust, changed := current()
		anchors := trust.Anchors()
		if err := f.apply(nil, &anchors); err != nil {
			return err
		}
		f.mu.Lock()
		f.served = trust
		f.mu.Unlock()
		for again := false; !again; {
			var err error
			select {
			case <-ctx.Done():
				return nil
			case <-changed:
				again = true
			case <-tick.C:
				if f.isSynced() { // the first batch must hold everything
					err = f.apply(nil, nil)
				}
			case b := <-batches:
				err = f.apply(b, nil)
			case <-f.asked.news:
				err = f.applyAsked(subscribers)
			}
			if err != nil {
				return err
			}
		}
	}
}

// apply propagates one batch of events, or what chains must end in from now on. The first batch holds
// everything there was at the start.
func (f *feed) apply(events []source.Event, anchors *string) error {
	now := time.Now().Truncate(clockStep)
	more := pipeline.Inputs{Roots: anchors, Now: &now}
	var pods []model.Key
	f.mu.Lock()
	for _, e := range events {
		if f.note(e, &more) {
			pods = append(pods, e.Key)
		}
	}
	f.mu.Unlock()

	if f.recheck != nil {
		for _, pod := range pods {
			f.recheck(pod)
		}
	}
	if f.zones.take(events) && f.relocate != nil {
		f.relocate()
	}
	if err := f.publish(f.graph.Apply(events, more)); err != nil {
		return err
	}
	if anchors == nil && !f.isSynced() {
		close(f.synced)
	}
	return nil
}

// isSynced tells whether the first batch is through.
func (f *feed) isSynced() bool {
	select {
	case <-f.synced:
		return true
	default:
		return false
	}
}

// publish hands on what the graph made.
func (f *feed) publish(out pipeline.Result) error {
	changes := out.Resources
	if f.amend != nil {
		changes = f.amend(changes)
	}
	if _, err := f.store.Commit(changes...); err != nil {
		return err
	}
	for _, ch := range out.Routes {
		id, v := ch.Key, ch.New
		if ch.Deleted {
			f.forget(id.Kind, id.Namespace, id.Name, len(ch.Old.Parents))
			f.writer.Route(id, nil)
			continue
		}
		f.writer.Route(id, &v)
		for i := range v.Parents {
			f.ledger.Require(status.Subject{Kind: id.Kind, Namespace: id.Namespace, Name: id.Name, Parent: i}, v.Needs[i])
		}
		for i := len(v.Parents); i < len(ch.Old.Parents); i++ {
			f.ledger.Require(status.Subject{Kind: id.Kind, Namespace: id.Namespace, Name: id.Name, Parent: i}, status.Requirement{})
		}
	}
	for _, ch := range out.Gateways {
		f.follow(gatewayapi.KindGateway, ch.Key, ch.Deleted, ch.New.Need)
		f.writer.Gateway(ch.Key, value(ch))
	}
	for _, ch := range out.Sets {
		f.follow(gatewayapi.KindListenerSet, ch.Key, ch.Deleted, ch.New.Need)
		f.writer.ListenerSet(ch.Key, value(ch))
	}
	for _, ch := range out.Policies {
		f.writer.Policy(ch.Key, value(ch))
	}
	if list := f.graph.Ignored(); len(list) != f.ignored {
		f.ignored = len(list)
		if len(list) > 0 {
			f.log.Info("Too many public networks of load balancers, nodes and external IPs: connections to these pass in plaintext", "count", len(list), "first", list[0].String())
		}
	}
	if n := f.graph.LeftOut(); (n > 0) != f.leftOut {
		if f.leftOut = n > 0; f.leftOut {
			f.log.Info("Proxies connect to too many addresses; namespaces with more than an equal share get no answer for the rest, and connections from there to pods are closed", "leftOut", n)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = f.graph.Failures()
	return nil
}

// value is that of an entry, nil where it has gone.
func value[K comparable, V any](ch incr.Change[K, V]) *V {
	if ch.Deleted {
		return nil
	}
	return &ch.New
}

// follow keeps an eye on which proxies have what a Gateway or ListenerSet needs.
func (f *feed) follow(kind string, k model.Key, gone bool, need status.Requirement) {
	if gone {
		need = status.Requirement{}
	}
	f.ledger.Require(status.Subject{Kind: kind, Namespace: k.Namespace, Name: k.Name}, need)
}

func (f *feed) forget(kind, namespace, name string, parents int) {
	for i := range parents {
		f.ledger.Require(status.Subject{Kind: kind, Namespace: namespace, Name: name, Parent: i}, status.Requirement{})
	}
}

// note keeps what is asked for by other parts of the control plane. It returns whether the event changes
// who a pod is.
func (f *feed) note(e source.Event, more *pipeline.Inputs) (changed bool) {
	switch e.Kind {
	case source.Mesh:
		if e.Key.Name != f.mesh {
			return false
		}
		f.active, _ = e.Object.(*v1alpha1.Mesh)
		if f.active != nil {
			s := settingsFrom(f.active, f.version, f.trust)
			more.Settings = &s
		}
	case source.Pod:
		before, known := f.workloads[e.Key]
		w, ok := e.Object.(model.Workload)
		if ok {
			f.workloads[e.Key] = w
		} else {
			delete(f.workloads, e.Key)
		}
		return known && (!ok || w.UID != before.UID || w.Ended != before.Ended || w.ServiceAccount != before.ServiceAccount ||
			w.Kind != before.Kind || w.Gateway != before.Gateway)
	case source.Namespace:
		if ns, ok := e.Object.(model.Namespace); ok {
			f.namespaces[e.Key.Name] = ns.Labels
		} else {
			delete(f.namespaces, e.Key.Name)
		}
	case source.EndpointSlice:
		if slice, _ := e.Object.(model.Slice); f.peers.take(e.Key, slice, f.system) {
			close(f.moved)
			f.moved = make(chan struct{})
		}
	default:
		if status.Written(string(e.Kind)) {
			f.refresh(e)
		}
	}
	return false
}

// refresh looks at an object's status again: the event may be somebody else's writing to it.
func (f *feed) refresh(e source.Event) {
	if e.Object == nil {
		return
	}
	f.writer.Refresh(model.Object{Kind: string(e.Kind), Namespace: e.Key.Namespace, Name: e.Key.Name})
}

// workload finds a pod by namespace and name.
func (f *feed) workload(k model.Key) (model.Workload, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	w, ok := f.workloads[k]
	return w, ok
}

// namespace returns the labels of a namespace as last seen.
func (f *feed) namespace(name string) (map[string]string, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	list, ok := f.namespaces[name]
	if !ok {
		return nil, false
	}
	out := make(map[string]string, len(list))
	for _, l := range list {
		out[l.Name] = l.Value
	}
	return out, true
}

// meshNow is the Mesh as last seen; nil if there is none.
func (f *feed) meshNow() *v1alpha1.Mesh {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.active
}

// trustServed is what proxies are told to trust.
func (f *feed) trustServed() ca.Trust {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.served
}

// replicas are all ready replicas of all revisions that can be asked, sorted by address.
func (f *feed) replicas() []status.Peer {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.peers.asked(f.self)
}

// serving tells whether new connections come to this replica, as it does when the control plane's
// Service leads to its revision. The channel is closed when that may have changed.
func (f *feed) serving() (bool, <-chan struct{}) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.peers.serves(f.self), f.moved
}

// serve waits for the first batch, which everything that answers requests must.
func (f *feed) serve(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-f.synced:
		return true
	}
}
