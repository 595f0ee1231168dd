// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// slowAPI is an API server that counts what it is asked.
type slowAPI struct {
	client.Reader
	asked, atOnce, most atomic.Int64
	labels              func(name string) (map[string]string, error)
	hold                chan struct{} // nil: it answers at once
}

func (s *slowAPI) enter(ctx context.Context) error {
	s.asked.Add(1)
	now := s.atOnce.Add(1)
	defer s.atOnce.Add(-1)
	for {
		if most := s.most.Load(); now <= most || s.most.CompareAndSwap(most, now) {
			break
		}
	}
	if s.hold == nil {
		return nil
	}
	select {
	case <-s.hold:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slowAPI) Get(ctx context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	labels, err := s.labels(key.Name)
	o.SetLabels(labels)
	return err
}

func (s *slowAPI) List(ctx context.Context, l client.ObjectList, _ ...client.ListOption) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	if ranges, ok := l.(*corev1.LimitRangeList); ok {
		ranges.Items = []corev1.LimitRange{{ObjectMeta: metav1.ObjectMeta{Name: "r", ManagedFields: []metav1.ManagedFieldsEntry{{}}}}}
	}
	return nil
}

// apiServer is where its reviews come from.
var apiServer = netip.MustParseAddr("192.0.2.1")

func meshedOnly(name string) (map[string]string, bool) {
	if name == "unseen" {
		return nil, false
	}
	return map[string]string{"seen": name}, true
}

// TestFactsOfFlood: any number of reviews costs two questions for each namespace and second, a few at a time.
func TestFactsOfFlood(t *testing.T) {
	api := &slowAPI{}
	n := newNamespaces(meshedOnly, api, logr.Discard())
	began := time.Now()
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			name := fmt.Sprint("ns-", i%20)
			f, err := n.facts(t.Context(), apiServer, name)
			if err != nil || f.Labels["seen"] != name || len(f.Bounds.Ranges) != 1 || f.Bounds.Ranges[0].ManagedFields != nil {
				t.Errorf("%+v, %v", f, err)
			}
		})
	}
	all.Wait()
	seconds := int64(time.Since(began)/current) + 1
	if asked := api.asked.Load(); asked < 40 || asked > 40*seconds {
		t.Errorf("asked %d times in %d s", asked, seconds)
	}
	if most := api.most.Load(); most > questions {
		t.Errorf("%d questions at once", most)
	}
}

// TestFactsWhileSlow: an API server that does not answer holds a review up for a moment only: an older answer
// will do, and without one the pod is injected as if there were no bounds.
func TestFactsWhileSlow(t *testing.T) {
	api := &slowAPI{}
	n := newNamespaces(meshedOnly, api, logr.Discard())
	n.patient = 40 * time.Millisecond
	if _, err := n.facts(t.Context(), apiServer, "known"); err != nil {
		t.Fatal(err)
	}
	api.hold = make(chan struct{})
	n.mu.Lock()
	old := n.bounds["known"]
	old.at = old.at.Add(-time.Hour)
	n.bounds["known"] = old
	n.mu.Unlock()
	if f, err := n.facts(t.Context(), apiServer, "known"); err != nil || len(f.Bounds.Ranges) != 1 {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err := n.facts(t.Context(), apiServer, "other"); err != nil || len(f.Bounds.Ranges) != 0 || f.Labels["seen"] != "other" {
		t.Errorf("%+v, %v", f, err)
	}
	// Of labels only fresh ones are taken.
	if f, err := n.fresh(t.Context(), apiServer, "known"); err == nil {
		t.Errorf("%+v", f)
	}
}

// TestFactsOfNewNamespace: one that the watch has not seen is waited for, and then asked for.
func TestFactsOfNewNamespace(t *testing.T) {
	var seen atomic.Bool
	api := &slowAPI{labels: func(name string) (map[string]string, error) {
		if name == "absent" {
			return nil, errors.New("not found")
		}
		return map[string]string{"by": "question"}, nil
	}}
	n := newNamespaces(func(string) (map[string]string, bool) {
		return map[string]string{"by": "watch"}, seen.Load()
	}, api, logr.Discard())
	if f, err := n.facts(t.Context(), apiServer, "new"); err != nil || f.Labels["by"] != "question" {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := n.facts(t.Context(), apiServer, "absent"); err == nil {
		t.Error("a namespace that is not there has facts")
	}
	time.AfterFunc(settling/10, func() { seen.Store(true) })
	if f, err := n.facts(t.Context(), apiServer, "late"); err != nil || f.Labels["by"] != "watch" {
		t.Errorf("%+v, %v", f, err)
	}
}

// TestKept: what is kept is bounded.
func TestKept(t *testing.T) {
	answers := map[string]kept[int]{}
	now := time.Now()
	for i := range 3 * maxKept {
		keep(answers, fmt.Sprint(i), kept[int]{i, nil, now.Add(time.Duration(i) * time.Millisecond)})
		if len(answers) > maxKept {
			t.Fatalf("%d are kept", len(answers))
		}
	}
	if answers[fmt.Sprint(3*maxKept-1)].value != 3*maxKept-1 {
		t.Error("the last is not kept")
	}
}
