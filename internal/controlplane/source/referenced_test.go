// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
)

// notified wants some objects, and notes what it is told of any.
type notified struct {
	wanted map[model.Key]bool

	mu        sync.Mutex
	versions  map[place]string
	unwatched int
	changed   chan struct{}
}

func newNotified(wanted ...model.Key) *notified {
	n := &notified{wanted: map[model.Key]bool{}, versions: map[place]string{}, changed: make(chan struct{})}
	for _, k := range wanted {
		n.wanted[k] = true
	}
	return n
}

func (n *notified) Wanted(_ Kind, k model.Key) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.wanted[k]
}

func (n *notified) Changed(kind Kind, k model.Key, version string) {
	n.note(func() { n.versions[place{kind, k}] = version })
}

func (n *notified) Listed(kind Kind, versions map[model.Key]string) {
	n.note(func() {
		for k, v := range versions {
			n.versions[place{kind, k}] = v
		}
	})
}

func (n *notified) Unwatched(Kind) { n.note(func() { n.unwatched++ }) }

func (n *notified) note(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *notified) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		n.mu.Lock()
		ok, changed := is(), n.changed
		n.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("not within 30 s: %s; versions are %v", what, n.versions)
		}
	}
}

// watching starts a Source with the metadata watched.
func watching(t *testing.T, n *notified, set func(*apiServer)) (*apiServer, *Source, *consumer) {
	t.Helper()
	return start(t, set, func(s *Source) { s.options.Referenced = n })
}

func put(s *apiServer, at, kind, name, data string) {
	s.put(at, fmt.Sprintf(`{metadata: {namespace: shop, name: %s, annotations: {big: %s}}, type: kubernetes.io/tls, %s: {%s}}`, name, strings.Repeat("x", 100), kind, data))
}

// TestReferencedMetadata: of Secrets and ConfigMaps the metadata is listed, in pages, and watched; only what is
// wanted is passed on, and nothing in the first batch waits for it.
func TestReferencedMetadata(t *testing.T) {
	mine := model.Key{Namespace: "shop", Name: "c150"}
	n := newNotified(mine)
	server, _, c := watching(t, n, func(s *apiServer) {
		fill(s)
		for i := range 250 {
			put(s, secrets, "data", fmt.Sprintf("c%03d", i), "")
			put(s, configMaps, "data", fmt.Sprintf("c%03d", i), "")
		}
	})
	c.until(t, "the first batch", func(_ map[place]any, b [][]Event) bool { return len(b) > 0 })
	n.until(t, "both kinds listed", func() bool { return len(n.versions) == 2 })
	before := n.versions[place{TLSSecret, mine}]
	if server.mu.Lock(); server.largest > 200 {
		t.Errorf("an answer had %d objects of 250", server.largest)
	}
	server.mu.Unlock()
	put(server, secrets, "data", "other", "")
	put(server, secrets, "data", mine.Name, "")
	n.until(t, "the change", func() bool { return n.versions[place{TLSSecret, mine}] != before })
	server.remove(secrets, mine.String())
	n.until(t, "the end", func() bool { return n.versions[place{TLSSecret, mine}] == "" })
	if len(n.versions) != 2 {
		t.Errorf("told of others: %v", n.versions)
	}
	for _, r := range server.requests() {
		if strings.Contains(r, "/namespaces/") && (strings.Contains(r, "/secrets/") || strings.Contains(r, "/configmaps/")) {
			t.Errorf("%s: something was read by name", r)
		}
		if strings.HasPrefix(r, "/api/v1/secrets?") && !strings.Contains(r, "fieldSelector=type%3Dkubernetes.io%2Ftls") {
			t.Errorf("%s: Secrets other than those for TLS were asked for", r)
		}
	}
}

// TestReferencedRefused: without the right to watch, everything else is delivered at once, and the refusal is told.
func TestReferencedRefused(t *testing.T) {
	n := newNotified()
	began := time.Now()
	_, _, c := watching(t, n, func(s *apiServer) {
		fill(s)
		s.refuse(secrets)
	})
	c.until(t, "the first batch", func(_ map[place]any, b [][]Event) bool { return len(b) > 0 })
	if waited := time.Since(began); waited > 20*time.Second {
		t.Errorf("the first batch waited %s for a right that nothing needs", waited)
	}
	n.until(t, "told", func() bool { return n.unwatched > 0 })
}

// TestRead: a read by name tells what is there, what is nothing, and what may not be read.
func TestRead(t *testing.T) {
	server, s, _ := start(t, func(s *apiServer) {
		fill(s)
		s.put(secrets, `{metadata: {namespace: shop, name: cert}, type: kubernetes.io/tls, data: {tls.crt: eA==}}`)
		s.put(secrets, `{metadata: {namespace: shop, name: password}, type: Opaque, data: {password: eA==}}`)
		s.put(configMaps, `{metadata: {namespace: shop, name: ca}, data: {ca.crt: ""}}`)
		s.put(configMaps, `{metadata: {namespace: shop, name: settings}, data: {colour: red}}`)
	})
	read := func(kind Kind, name string) (any, string, error) {
		return s.Read(context.Background(), kind, model.Key{Namespace: "shop", Name: name})
	}
	if o, version, err := read(TLSSecret, "cert"); err != nil || version == "" || o.(TLS).Problem != "tls.key is missing" {
		t.Errorf("the Secret: %+v, version %q, %v", o, version, err)
	}
	if o, _, err := read(CAConfigMap, "ca"); err != nil || o.(CABundle).Problem == "" {
		t.Errorf("the ConfigMap: %+v, %v", o, err)
	}
	if o, version, err := read(TLSSecret, "password"); err != nil || version == "" || !o.(TLS).OtherType || !strings.Contains(o.(TLS).Problem, `its type is "Opaque" and must be kubernetes.io/tls`) {
		t.Errorf("the Secret of another type: %+v, version %q, %v", o, version, err)
	}
	if o, version, err := read(CAConfigMap, "settings"); o != nil || version == "" || err != nil {
		t.Errorf("the ConfigMap without certificates counts for something: %+v, version %q, %v", o, version, err)
	}
	for _, kind := range []Kind{TLSSecret, CAConfigMap} {
		if o, version, err := read(kind, "nothing"); o != nil || version != "" || err != nil {
			t.Errorf("%s that does not exist: %+v, version %q, %v", kind, o, version, err)
		}
	}
	server.refuse(secrets)
	if o, _, err := read(TLSSecret, "cert"); err == nil || !strings.Contains(o.(TLS).Problem, "no right to read it") {
		t.Errorf("a Secret that may not be read: %+v, %v", o, err)
	}
	if _, _, err := read(Service, "web"); err == nil {
		t.Error("a Service can be read by name")
	}
}
