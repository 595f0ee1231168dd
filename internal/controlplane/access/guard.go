// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"

	"tulle.dev/tulle/internal/bounded"
	"tulle.dev/tulle/internal/names"
)

// Options of a Guard. Tokens, Access, Mesh, Namespace and Audience are required.
type Options struct {
	Tokens authenticationclient.TokenReviewInterface
	Access authorizationclient.SubjectAccessReviewInterface
	// Mesh and Namespace are those of the control plane, which are asked for.
	Mesh, Namespace string
	// Audience is that of the tokens.
	Audience string
	// Keep is how long the API server's word is used again; 0 means 30 s.
	Keep time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	Log logr.Logger
}

const (
	keep = 30 * time.Second
	// reviewTimeout bounds one TokenReview with its SubjectAccessReview.
	reviewTimeout = 5 * time.Second
	// strangersAtOnce bounds the reviews for new tokens from unknown addresses. Each keeps its place for a second,
	// so it is also how many are reviewed in a second.
	strangersAtOnce = 32
	// knownAtOnce bounds the reviews for new tokens from known addresses, four times as many in a second, and the
	// reviews for callers that were allowed before.
	knownAtOnce = 8
	// maxKept bounds the callers that are remembered, allowed and refused ones each, and the known addresses.
	maxKept = 256
	// knownFor is how long a caller that was allowed, and its address, are reviewed apart from strangers: longer
	// than its token is valid for.
	knownFor = 2 * time.Hour
)

// Guard lets requests through whose callers the cluster's RBAC allows. Safe for concurrent use.
type Guard struct {
	opts Options
	// Reviews wait in one of three queues. An address is not an identity, so a token that was never allowed does
	// not wait among the ones that were, wherever it comes from.
	callers   *queue // whose tokens were allowed before
	addresses *queue // new tokens from known addresses
	strangers *queue // all other tokens

	mu      sync.Mutex
	allowed map[caller]kept         // guarded by mu
	refused map[caller]kept         // guarded by mu
	known   map[netip.Addr]kept     // guarded by mu; the addresses from which callers were allowed
	senders senders                 // guarded by mu
	running map[caller]*underReview // guarded by mu; bounded by the queues
}

// caller is a token, hashed, and what it is used for.
type caller struct {
	token       [sha256.Size]byte
	subresource string
}

// kept is the API server's word.
type kept struct {
	verdict verdict
	at      time.Time
}

// verdict is a status code, 200 if the request may pass, and what to tell the caller otherwise.
type verdict struct {
	code    int
	message string
}

// underReview is a review that any number of requests wait for.
type underReview struct {
	done    chan struct{}
	verdict verdict // set before done is closed
}

// New returns a Guard that has asked nothing yet.
func New(opts Options) *Guard {
	if opts.Keep <= 0 {
		opts.Keep = keep
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Guard{
		opts:      opts,
		callers:   newQueue(knownAtOnce, knownAtOnce, 0),
		addresses: newQueue(knownAtOnce, perAddress, time.Second/4),
		strangers: newQueue(strangersAtOnce, perAddress, time.Second),
		allowed:   map[caller]kept{}, refused: map[caller]kept{}, known: map[netip.Addr]kept{}, senders: senders{}, running: map[caller]*underReview{},
	}
}

// Require returns a handler that passes on the requests of callers that may get
// names.ControlPlaneResource/subresource in the control plane's namespace. It refuses all others with a sentence that says what is needed.
func (g *Guard) Require(subresource string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := g.judge(r, subresource)
		if v.code == http.StatusOK {
			next.ServeHTTP(w, r)
			return
		}
		switch v.code {
		case http.StatusUnauthorized:
			w.Header().Set("WWW-Authenticate", "Bearer")
		case http.StatusServiceUnavailable:
			w.Header().Set("Retry-After", "1")
		}
		http.Error(w, v.message, v.code)
	})
}

func (g *Guard) judge(r *http.Request, subresource string) verdict {
	token := bearer(r.Header)
	if token == "" {
		return verdict{http.StatusUnauthorized, "send a token of a ServiceAccount for the audience " + g.opts.Audience + " as a bearer token"}
	}
	now := g.opts.Now()
	if err := checkShape(token, g.opts.Audience, now); err != nil {
		return verdict{http.StatusUnauthorized, err.Error()}
	}
	c, from := caller{sha256.Sum256([]byte(token)), subresource}, bounded.Address(r)
	v, run, enter := g.begin(c, from, now)
	if enter != nil { // this request makes the review
		go g.review(context.WithoutCancel(r.Context()), c, token, run, enter)
	}
	if run != nil {
		select {
		case <-run.done:
			v = run.verdict
		case <-r.Context().Done():
			v = verdict{http.StatusServiceUnavailable, "the request ended before the API server answered"}
		}
	}
	if v.code == http.StatusOK {
		g.mu.Lock()
		remember(g.known, from, kept{at: now}, knownFor)
		g.mu.Unlock()
	}
	return v
}

// enter waits for the turn of a review. Call leave when the review has ended.
type enter func(context.Context) (leave func(), err error)

// begin returns the verdict that is kept, or else the review to wait for. If the caller has to make that review,
// enter is not nil.
func (g *Guard) begin(c caller, from netip.Addr, now time.Time) (verdict, *underReview, enter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before, was := g.allowed[c]
	if was && now.Sub(before.at) < g.opts.Keep {
		return before.verdict, nil, nil
	}
	if no, ok := g.refused[c]; ok && now.Sub(no.at) < g.opts.Keep {
		return no.verdict, nil, nil
	}
	if run := g.running[c]; run != nil {
		return verdict{}, run, nil
	}
	q, recent := g.strangers, 0
	if was && now.Sub(before.at) < knownFor {
		q = g.callers
	} else {
		recent = g.senders.add(from, now)
		if at, ok := g.known[from]; ok && now.Sub(at.at) < knownFor {
			q = g.addresses
		}
	}
	run := &underReview{done: make(chan struct{})}
	g.running[c] = run
	return verdict{}, run, func(ctx context.Context) (func(), error) { return q.enter(ctx, from, recent) }
}

// review waits for its turn, asks the API server and ends the review.
func (g *Guard) review(ctx context.Context, c caller, token string, run *underReview, enter enter) {
	v := verdict{http.StatusServiceUnavailable, "too many tokens are being checked; try again"}
	leave, err := enter(ctx)
	if err == nil {
		defer leave()
		ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
		defer cancel()
		if v, err = g.ask(ctx, token, c.subresource); err != nil {
			g.opts.Log.Info("The API server did not check a token of the internal port", "reason", err.Error())
			v = verdict{http.StatusServiceUnavailable, "the API server did not check the token; try again"}
		}
	}
	now := g.opts.Now()
	g.mu.Lock()
	switch {
	case err != nil: // what was known stays known
	case v.code == http.StatusOK:
		delete(g.refused, c)
		remember(g.allowed, c, kept{v, now}, knownFor)
	default:
		delete(g.allowed, c)
		remember(g.refused, c, kept{v, now}, g.opts.Keep)
	}
	delete(g.running, c)
	g.mu.Unlock()
	run.verdict = v
	close(run.done)
}

// remember keeps a verdict. If there are maxKept, the ones that are older than life are removed, or else the oldest.
func remember[K comparable](in map[K]kept, c K, k kept, life time.Duration) {
	if _, there := in[c]; !there && len(in) >= maxKept {
		var oldest K
		at := k.at
		for other, o := range in {
			if k.at.Sub(o.at) >= life {
				delete(in, other)
			} else if !o.at.After(at) {
				oldest, at = other, o.at
			}
		}
		if len(in) >= maxKept {
			delete(in, oldest)
		}
	}
	in[c] = k
}

// ask asks the API server whose the token is and what its account may do.
func (g *Guard) ask(ctx context.Context, token, subresource string) (verdict, error) {
	r, err := g.opts.Tokens.Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{g.opts.Audience}},
	}, metav1.CreateOptions{})
	if err != nil {
		return verdict{}, fmt.Errorf("create TokenReview: %w", err)
	}
	// An API server that does not support audiences leaves status.audiences empty.
	if !r.Status.Authenticated || !slices.Contains(r.Status.Audiences, g.opts.Audience) {
		return verdict{http.StatusUnauthorized, "the API server does not accept the token"}, nil
	}
	u := r.Status.User
	if u.Username == "" {
		return verdict{}, errors.New("create TokenReview: the API server named no user")
	}
	extra := map[string]authorizationv1.ExtraValue{}
	for k, v := range u.Extra {
		extra[k] = authorizationv1.ExtraValue(v)
	}
	a, err := g.opts.Access.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: u.Username, Groups: u.Groups, UID: u.UID, Extra: extra,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: "get", Group: names.Group, Version: "*", Resource: names.ControlPlaneResource, Subresource: subresource,
			Namespace: g.opts.Namespace, Name: g.opts.Mesh,
		},
	}}, metav1.CreateOptions{})
	if err != nil {
		return verdict{}, fmt.Errorf("create SubjectAccessReview: %w", err)
	}
	if !a.Status.Allowed {
		return verdict{http.StatusForbidden, fmt.Sprintf(
			"%s may not get %s/%s.%s in namespace %s; grant it with a Role", u.Username, names.ControlPlaneResource, subresource, names.Group, g.opts.Namespace)}, nil
	}
	return verdict{code: http.StatusOK}, nil
}
