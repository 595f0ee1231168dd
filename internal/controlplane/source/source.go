// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwapiv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/pages"
)

// Options are the settings of a Source.
type Options struct {
	// SystemNamespace, where the control plane runs, is never meshed.
	SystemNamespace string
	// Mesh is the name of the Mesh whose selector decides which namespaces are meshed; empty: the oldest.
	Mesh string
	// Referenced is notified of changes of Secrets and ConfigMaps. If nil, their metadata is not watched.
	Referenced Referenced
	Log        logr.Logger
}

// Source watches the cluster. Make it with New and call Run once.
type Source struct {
	options Options
	watcher func(feed) cache.ListerWatcher
	served  func(context.Context, feed) (bool, error)
	queue   *queue
	synced  atomic.Bool

	metadataWatcher func(metadata) cache.ListerWatcher
	read            func(context.Context, Kind, model.Key) (object any, version string, err error)

	// patience is how long a kind that may be refused is waited for.
	patience time.Duration

	// Used by Run's goroutine alone.
	meshes     map[string]*v1alpha1.Mesh
	namespaces map[string]model.Namespace
}

// New prepares to watch the cluster that cfg leads to. Nothing is read before Run.
func New(cfg *rest.Config, o Options) (*Source, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, certificatesv1.AddToScheme, discoveryv1.AddToScheme, gwapiv1.Install, gwapiv1beta1.Install, v1alpha1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("register API types: %w", err)
		}
	}
	cfg = rest.CopyConfig(cfg)
	cfg.Wrap(pages.Transport)
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("make a client to watch the cluster: %w", err)
	}
	s := newSource(o)
	s.watcher = func(f feed) cache.ListerWatcher { return listWatch(c, f) }
	s.served = func(ctx context.Context, f feed) (bool, error) { return served(ctx, c, f) }
	s.metadataWatcher = func(m metadata) cache.ListerWatcher { return m.listWatch(c, s.options.Referenced) }
	s.read = func(ctx context.Context, kind Kind, k model.Key) (any, string, error) {
		return readObject(ctx, c, kind, k)
	}
	return s, nil
}

func newSource(o Options) *Source {
	return &Source{options: o, queue: newQueue(Kinds()), patience: 30 * time.Second, meshes: map[string]*v1alpha1.Mesh{}, namespaces: map[string]model.Namespace{}}
}

func listWatch(c client.WithWatch, f feed) cache.ListerWatcher {
	return pages.ListWatch(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			l := f.list()
			return l, c.List(ctx, l, &client.ListOptions{Limit: o.Limit, Continue: o.Continue})
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return c.Watch(ctx, f.list(), &client.ListOptions{Raw: &o})
		},
	}, func(o runtime.Object) (runtime.Object, error) { return f.read(o) })
}

// Run watches until ctx ends and calls deliver with one batch after the other, never two at a time.
// The first batch, which may be empty, holds everything. While deliver works, events gather. After
// Run has returned deliver is not called again; watches that are waiting for an API server that is
// away end a few seconds later.
func (s *Source) Run(ctx context.Context, deliver func([]Event)) error {
	for _, f := range feeds() {
		go s.watch(ctx, f)
	}
	if s.options.Referenced != nil {
		for _, m := range referenced() {
			go s.watchReferenced(ctx, m)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.queue.wake:
		}
		batch, ok := s.queue.take()
		if !ok {
			continue
		}
		deliver(s.settle(batch))
		s.synced.Store(true)
	}
}

// Synced tells whether the first batch has been delivered and taken in. It may be called from any goroutine.
func (s *Source) Synced() bool { return s.synced.Load() }

// Waiting are the kinds whose objects are not all known yet. It may be called from any goroutine.
func (s *Source) Waiting() []Kind { return s.queue.missing() }

// watch keeps one kind up to date until ctx ends.
func (s *Source) watch(ctx context.Context, f feed) {
	shelf := &shelf{feed: f, out: s.queue, held: map[model.Key]any{}}
	log := s.options.Log.WithValues("kind", string(f.kind))
	ctx = klog.NewContext(ctx, log)
	backoff := watchBackoff()
	r := cache.NewReflectorWithOptions(s.watcher(f), f.object, shelf, cache.ReflectorOptions{Name: "source/" + string(f.kind), Logger: &log, Backoff: &backoff})
	var troubled trouble
	// The error is only ctx's.
	_ = backoff.DelayWithReset(clock.RealClock{}, time.Minute).Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		err := r.ListAndWatchWithContext(ctx)
		if err == nil || ctx.Err() != nil {
			troubled = trouble{}
			return false, nil
		}
		return false, s.onError(ctx, shelf, &troubled, err)
	})
}

// watchBackoff is the delay between attempts: several replicas must not fall upon an API server that has just
// come back all at once.
func watchBackoff() wait.Backoff {
	return wait.Backoff{Duration: 500 * time.Millisecond, Cap: 10 * time.Second, Factor: 2, Jitter: 0.5, Steps: 8}
}

// trouble is what a watch has met since it last worked.
type trouble struct {
	refusedSince time.Time
	told         string // the last thing logged, so that it is logged once
}

// onError decides what a failed watch means: usually nothing but to try again.
func (s *Source) onError(ctx context.Context, shelf *shelf, t *trouble, err error) error {
	f, log := shelf.feed, klog.FromContext(ctx)
	say := func(message string) {
		if t.told != message {
			log.Info(message, "error", err.Error())
		}
		t.told = message
	}
	switch {
	case s.isAbsent(ctx, f, err):
		say("Going on without a kind that the cluster does not have")
		return shelf.Replace(nil, "")
	case f.refusable && apierrors.IsForbidden(err) && !shelf.synced:
		// An API server that has just started refuses for a moment what it later allows, and a first
		// batch without zones would move the clients of every Service with hints.
		if t.refusedSince.IsZero() {
			t.refusedSince = time.Now()
		}
		if time.Since(t.refusedSince) < s.patience {
			say("Waiting for the right to read a kind")
			return nil
		}
		say("Going on without a kind that may not be read")
		return shelf.Replace(nil, "")
	}
	// What is held stays as it is, also where a right was withdrawn.
	say("Watching again after an error")
	return nil
}

// settle decides anew which namespaces are meshed: that depends on the Mesh as well.
func (s *Source) settle(batch []Event) []Event {
	touched := map[string]int{}
	changed := false
	for i, e := range batch {
		switch e.Kind {
		case Mesh:
			changed = true
			if e.Object == nil {
				delete(s.meshes, e.Key.Name)
			} else {
				s.meshes[e.Key.Name] = e.Object.(*v1alpha1.Mesh)
			}
		case Namespace:
			touched[e.Key.Name] = i
			if e.Object == nil {
				delete(s.namespaces, e.Key.Name)
			} else {
				s.namespaces[e.Key.Name] = e.Object.(model.Namespace)
			}
		}
	}
	if !changed && len(touched) == 0 {
		return batch
	}
	selection := s.selection()
	var more []Event
	for name, ns := range s.namespaces {
		i, isTouched := touched[name]
		if !changed && !isTouched {
			continue
		}
		judged := selection.judge(ns)
		e := Event{Kind: Namespace, Key: model.Key{Name: name}, Object: judged}
		switch {
		case isTouched:
			batch[i] = e
		case judged.Meshed != ns.Meshed:
			more = append(more, e)
		}
		s.namespaces[name] = judged
	}
	slices.SortFunc(more, func(a, b Event) int { return strings.Compare(a.Key.Name, b.Key.Name) })
	return append(batch, more...)
}

func (s *Source) selection() Selection {
	meshes := make([]*v1alpha1.Mesh, 0, len(s.meshes))
	for name, m := range s.meshes {
		if s.options.Mesh == "" || s.options.Mesh == name {
			meshes = append(meshes, m)
		}
	}
	return SelectionFrom(Active(meshes), s.options.SystemNamespace)
}
