// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package trust

import (
	"cmp"
	"slices"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/event"

	"tulle.dev/tulle/internal/lifecycle/plan"
)

// Unwritten are the namespaces to which the roots could not be written, with the API server's words. Safe for
// concurrent use.
type Unwritten struct {
	changed chan event.GenericEvent

	mu    sync.Mutex
	words map[string]string // by namespace; guarded by mu
}

// NewUnwritten returns an empty Unwritten.
func NewUnwritten() *Unwritten {
	return &Unwritten{changed: make(chan event.GenericEvent, 1), words: map[string]string{}}
}

// Changed receives after a change, once for those that happen before it is read.
func (u *Unwritten) Changed() <-chan event.GenericEvent { return u.changed }

// List returns the namespaces, sorted by name.
func (u *Unwritten) List() []plan.Unwritten {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := make([]plan.Unwritten, 0, len(u.words))
	for ns, words := range u.words {
		out = append(out, plan.Unwritten{Namespace: ns, Words: words})
	}
	slices.SortFunc(out, func(a, b plan.Unwritten) int { return cmp.Compare(a.Namespace, b.Namespace) })
	return out
}

// set records why the roots of a namespace could not be written; nothing if they were, or need not be. It
// tells whether that is new.
func (u *Unwritten) set(namespace, words string) bool {
	if u == nil {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.words[namespace] == words {
		return false
	}
	if words == "" {
		delete(u.words, namespace)
	} else {
		u.words[namespace] = words
	}
	select {
	case u.changed <- event.GenericEvent{}:
	default: // one is waiting already
	}
	return true
}
