// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"tulle.dev/tulle/internal/bounded"
	"tulle.dev/tulle/internal/controlplane/access"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

const (
	// internalWrite bounds a whole response. It is longer than a replica that asks for progress waits for news.
	internalWrite = 30 * time.Second
	monitorWrite  = 10 * time.Second
	// debugAtOnce bounds how many answers are made and written at once; further callers wait.
	debugAtOnce = 4
	// maxDebugAnswer bounds an answer, in bytes. The operator reads no longer one either.
	maxDebugAnswer = 32 << 20
)

// internal serves what the operator, the other replicas and the command line read, over TLS. The API server
// decides who that is.
func (r *replica) internal(ctx context.Context) error {
	guard := access.New(access.Options{
		Tokens: r.kube.AuthenticationV1().TokenReviews(), Access: r.kube.AuthorizationV1().SubjectAccessReviews(),
		Mesh: r.opts.Mesh, Namespace: r.opts.SystemNamespace, Audience: names.InternalAudience, Log: r.opts.Log.WithName("internal"),
	})
	mux := http.NewServeMux()
	r.debugPaths(mux, guard.Require)
	s := bounded.NewServer(mux, r.authority.InternalTLS())
	s.ReadTimeout, s.WriteTimeout, s.IdleTimeout = 5*time.Second, internalWrite, time.Minute
	return r.serve(ctx, names.PortInternal, portInternal, internalConnections(), s)
}

// debugPaths adds the debug paths and the replicas' progress, each behind require.
func (r *replica) debugPaths(mux *http.ServeMux, require func(subresource string, next http.Handler) http.Handler) {
	places := make(chan struct{}, debugAtOnce)
	for path, h := range map[string]http.HandlerFunc{
		names.PathProxies: r.proxies, names.PathTrust: r.trustReport, names.PathTranslation: r.translation,
	} {
		mux.Handle("GET "+path, require(names.DebugResource, inTurn(places, h)))
	}
	mux.Handle("GET "+names.PathProgress, require(names.ProgressResource, atMost(r.feed.maxWaiters, r.feed.ledger)))
}

// inTurn has a handler wait for a place.
func inTurn(places chan struct{}, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
}

// atMost refuses requests while as many as most returns are being served.
func atMost(most func() int, next http.Handler) http.Handler {
	var running atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer running.Add(-1)
		if running.Add(1) > int64(most()) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "enough callers wait already", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// maxWaiters is how many may wait for progress at once: each replica may ask twice, as its former request
// may not have ended here yet.
func (f *feed) maxWaiters() int {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return 2 * max(2, len(f.peers.addresses()))
}

// answer sends a value as JSON.
func answer(w http.ResponseWriter, v any) {
	text, err := encode(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	send(w, text)
}

// send sends JSON that is not too long.
func send(w http.ResponseWriter, text []byte) {
	if len(text) > maxDebugAnswer {
		http.Error(w, fmt.Sprintf("the answer has %d bytes, more than the %d that are sent", len(text), maxDebugAnswer), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(text) // the caller has gone
}

// keptTranslation is the latest translation as JSON. It is made once for each commit, not for each request.
// Safe for concurrent use.
type keptTranslation struct {
	mu   sync.Mutex // guards all below; held while one is made
	head protocol.Translation
	text []byte
	made int // how often one was made
}

// get returns the translation of a feed as JSON.
func (k *keptTranslation) get(f *feed) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	head := f.translationHead()
	if k.text != nil && reflect.DeepEqual(head, k.head) {
		return k.text, nil
	}
	k.made++
	full := head
	full.Resources = translated(f.store)
	text, err := encode(full)
	if err != nil {
		return nil, fmt.Errorf("write translation: %w", err)
	}
	k.head, k.text = head, text
	return text, nil
}
