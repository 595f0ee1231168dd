// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// limitedAPI is an API server that answers within 2 ms, by a client with the limits of strangersClients: 50 questions
// a second, 100 at once. It has the namespaces whose names do not begin with "x".
type limitedAPI struct {
	slowAPI
	mu   sync.Mutex
	next time.Time
	gets atomic.Int64
}

func (a *limitedAPI) wait(ctx context.Context) error {
	const every = time.Second / 50
	a.mu.Lock()
	if earliest := time.Now().Add(-100 * every); a.next.Before(earliest) {
		a.next = earliest
	}
	a.next = a.next.Add(every)
	wait := time.Until(a.next) + 2*time.Millisecond
	a.mu.Unlock()
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *limitedAPI) Get(ctx context.Context, k client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	a.gets.Add(1)
	if err := a.wait(ctx); err != nil {
		return err
	}
	if strings.HasPrefix(k.Name, "x") {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, k.Name)
	}
	return a.slowAPI.Get(ctx, k, o)
}

func (a *limitedAPI) List(ctx context.Context, l client.ObjectList, _ ...client.ListOption) error {
	if err := a.wait(ctx); err != nil {
		return err
	}
	return a.slowAPI.List(ctx, l)
}

// TestStrangersNameNamespaces: strangers that name namespaces, those that do not exist or those that do, as often as
// they like, do not keep the API server's reviews from their answers.
func TestStrangersNameNamespaces(t *testing.T) {
	absent := func(i int64) string { return fmt.Sprint("x", i) }
	for name, c := range map[string]struct {
		reviews, addresses int
		names              func(int64) string
	}{
		"none":                     {names: absent},
		"absent, one address":      {170, 1, absent},
		"absent, two addresses":    {340, 2, absent},
		"absent, twenty addresses": {340, 20, absent},
		"one absent":               {340, 2, func(int64) string { return "x" }},
		"existing, one address":    {170, 1, func(i int64) string { return fmt.Sprint("seen-", i%300) }},
		"existing, two addresses":  {340, 2, func(i int64) string { return fmt.Sprint("seen-", i%300) }},
		"the one that the API server asks for": {340, 2, func(i int64) string {
			if i%4 == 0 {
				return "shop"
			}
			return fmt.Sprint("seen-", i%300)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := &limitedAPI{slowAPI: slowAPI{labels: func(name string) (map[string]string, error) { return map[string]string{"is": name}, nil }}}
				n := newNamespaces(func(s string) (map[string]string, bool) {
					return map[string]string{"is": s}, s == "shop" || strings.HasPrefix(s, "seen-")
				}, api, logr.Discard())
				ctx, cancel := context.WithCancel(t.Context())
				var count atomic.Int64
				var all sync.WaitGroup
				for i := range c.reviews {
					from := netip.AddrFrom4([4]byte{10, 1, 0, byte(i % c.addresses)})
					all.Go(func() {
						for ctx.Err() == nil {
							name := c.names(count.Add(1))
							_, _ = n.facts(ctx, from, name)
							_, _ = n.fresh(ctx, from, name)
							time.Sleep(20 * time.Millisecond)
						}
					})
				}
				time.Sleep(6 * time.Second)
				before, began := api.gets.Load(), time.Now()
				for i := range 4 {
					asked := time.Now()
					f, err := n.fresh(ctx, apiServer, "shop")
					if err != nil || len(f.Bounds.Ranges) != 1 {
						t.Errorf("namespace shop: %+v, %v", f, err)
					}
					if took := time.Since(asked); took > time.Second {
						t.Errorf("a look at namespace shop takes %v", took)
					}
					// One that was created just now, so that the watch has not seen it.
					asked = time.Now()
					if f, err := n.facts(ctx, apiServer, fmt.Sprint("new-", i)); err != nil || len(f.Bounds.Ranges) != 1 {
						t.Errorf("a new namespace: %+v, %v", f, err)
					}
					if took := time.Since(asked); took > settling+time.Second {
						t.Errorf("a look at a new namespace takes %v", took)
					}
					time.Sleep(1100 * time.Millisecond)
				}
				// Of the questions eight are the API server's.
				most := 8 + int64(time.Since(began)/unseenEvery) + 1
				if asked := api.gets.Load() - before; !strings.HasPrefix(c.names(0), "seen") && c.names(0) != "shop" && asked > most {
					t.Errorf("asked %d times for names that the watch has not seen, want %d at most", asked, most)
				}
				cancel()
				all.Wait()
				time.Sleep(time.Minute) // questions under way end
			})
		})
	}
}

// TestAbsentIsKept: that a namespace does not exist is kept for a second, as any answer; other errors are not.
func TestAbsentIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fails error
		api := &limitedAPI{slowAPI: slowAPI{labels: func(string) (map[string]string, error) { return nil, fails }}}
		n := newNamespaces(func(string) (map[string]string, bool) { return nil, false }, api, logr.Discard())
		for range 5 {
			if _, err := n.fresh(t.Context(), apiServer, "x"); !apierrors.IsNotFound(err) {
				t.Errorf("got %v", err)
			}
		}
		if asked := api.gets.Load(); asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		time.Sleep(current)
		if _, err := n.fresh(t.Context(), apiServer, "x"); !apierrors.IsNotFound(err) || api.gets.Load() != 2 {
			t.Errorf("a second later: %v, asked %d times", err, api.gets.Load())
		}
		fails = errors.New("the API server is away")
		if _, err := n.fresh(t.Context(), apiServer, "new"); err == nil {
			t.Error("no error")
		}
		fails = nil
		if _, err := n.fresh(t.Context(), apiServer, "new"); err != nil {
			t.Errorf("an error is kept: %v", err)
		}
		time.Sleep(time.Second)
	})
}
