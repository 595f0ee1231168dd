// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"

	"tulle.dev/tulle/internal/bounded"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// Tokens vouches for service account tokens; TokenReviews is the real one.
type Tokens interface {
	// Review says whose token it is and whether it is good for the audience. The error is for reviews
	// that could not be made; a bad token is not an error.
	Review(ctx context.Context, token, audience string) (Token, bool, error)
}

// SignerOptions are what a Signer needs. Authority, Tokens, Pod and TrustDomain are required.
type SignerOptions struct {
	Authority *Authority
	Tokens    Tokens
	// Pod finds a pod by namespace and name in what the control plane has seen. It is called by many
	// goroutines at once and must not block.
	Pod         func(model.Key) (model.Workload, bool)
	TrustDomain string
	// Lifetime is the mesh's life of workload certificates, asked at each request; nil or 0 means 24 h.
	Lifetime func() time.Duration
	// AnyAddress tells whether a request may come from an address that is not its pod's, asked at each request;
	// nil means never. Only for clusters that rewrite the source addresses of pods.
	AnyAddress func() bool
	// Patience is how long a request is held for a pod that the control plane has not seen with its
	// address yet, which is usual for a pod that has just started; 0 means 3 s, negative none.
	Patience time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	Log logr.Logger
	// Metrics may be nil.
	Metrics *Metrics
}

// Limits. A pod needs one certificate per slot and start, then one per two thirds of a lifetime.
const (
	podBurst        = 10
	podInterval     = 10 * time.Second
	addressBurst    = 30
	addressInterval = 500 * time.Millisecond
	// concurrentReviews bounds what the API server is asked at once.
	concurrentReviews = 32
	// reading bounds the bytes of all requests in flight: some hundred. A request holds its part until it is
	// answered, and for at most the grace, while others wait, if it arrives slowly.
	reading = 8 << 20
	wait    = 5 * time.Second
	waiting = 512
	grace   = 500 * time.Millisecond
	// look is how often a held request looks for its pod.
	look = 50 * time.Millisecond
)

// Signer answers protocol.SignPath. Safe for concurrent use.
type Signer struct {
	opts      SignerOptions
	pods      *limiter
	addresses *limiter
	claims    *limiter      // by UID of the pod that a token names, where addresses are not checked
	reviews   chan struct{} // a place per review under way
	bodies    *bounded.Bodies
}

// NewSigner makes a Signer.
func NewSigner(opts SignerOptions) (*Signer, error) {
	if opts.Authority == nil || opts.Tokens == nil || opts.Pod == nil || opts.TrustDomain == "" {
		return nil, errors.New("a Signer needs Authority, Tokens, Pod and TrustDomain")
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Patience == 0 {
		opts.Patience = 3 * time.Second
	}
	if opts.Lifetime == nil {
		opts.Lifetime = func() time.Duration { return 0 }
	}
	if opts.AnyAddress == nil {
		opts.AnyAddress = func() bool { return false }
	}
	return &Signer{
		opts:      opts,
		pods:      newLimiter(podBurst, podInterval),
		addresses: newLimiter(addressBurst, addressInterval),
		claims:    newLimiter(addressBurst, addressInterval),
		reviews:   make(chan struct{}, concurrentReviews),
		bodies: bounded.NewBodies(bounded.BodyLimits{Bytes: protocol.MaxSignRequest, Shape: maxShape()}, bounded.BudgetOptions{
			Total: reading, Share: reading / 8, Wait: wait, Waiting: waiting, Grace: grace,
		}),
	}, nil
}

// ServeHTTP answers one request.
func (s *Signer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	defer func() { s.opts.Metrics.took(time.Since(start)) }()
	answer, p, no := s.serve(w, r)
	log := s.opts.Log.WithValues("remoteAddress", r.RemoteAddr)
	if no != nil {
		s.opts.Metrics.refuse(no.Reason)
		// Rate limits are counted alone: a flood must not become a flood of log lines.
		if no.Reason != ReasonAddressRate && no.Reason != ReasonPodRate && no.Reason != ReasonBusy {
			log.Info("Refused certificate", "reason", no.Reason, "message", no.Message)
		}
		if no.Retry > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(no.Retry.Seconds()))))
		}
		reply(w, no.Status, protocol.SignError{Message: no.Message})
		return
	}
	s.opts.Metrics.sign(p.Kind)
	log.Info("Signed certificate", "namespace", p.Namespace, "pod", p.Pod, "podUID", p.PodUID,
		"serviceAccount", p.ServiceAccount, "kind", p.Kind, "notAfter", answer.NotAfter)
	reply(w, http.StatusOK, answer)
}

// serve is the way of a request: the cheap checks first, the API server only for what passes them.
func (s *Signer) serve(w http.ResponseWriter, r *http.Request) (protocol.SignResponse, Principal, *refusal) {
	fail := func(no *refusal) (protocol.SignResponse, Principal, *refusal) {
		return protocol.SignResponse{}, Principal{}, no
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return fail(refuse(http.StatusMethodNotAllowed, ReasonMethod, "use POST"))
	}
	remote := bounded.Address(r)
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if no := s.limitRequests(remote, bearer); no != nil {
		return fail(no)
	}
	if !ok || bearer == "" {
		return fail(refuse(http.StatusUnauthorized, ReasonNoToken, "send the pod's token as Authorization: Bearer"))
	}
	body, unreadable := s.bodies.Read(w, r)
	if unreadable != nil {
		return fail(unread(unreadable))
	}
	defer body.Release()
	req, no := parseRequest(body.Bytes)
	if no != nil {
		return fail(no)
	}
	key, err := publicKey(req.CSR)
	if err != nil {
		return fail(refuse(http.StatusBadRequest, ReasonCSR, "%v", err))
	}
	token, no := s.review(r.Context(), bearer)
	if no != nil {
		return fail(no)
	}
	if no := matchToken(token, req); no != nil {
		return fail(no)
	}
	pod, no := s.livePod(r.Context(), token, remote)
	if no != nil {
		return fail(no)
	}
	if no := limited(s.pods, pod.UID, s.opts.Now(), ReasonPodRate, "too many certificates for this pod"); no != nil {
		return fail(no)
	}
	p := Principal{Namespace: token.Namespace, ServiceAccount: token.ServiceAccount, Pod: token.Pod, PodUID: token.PodUID, Kind: pod.Kind}
	return s.sign(p, key, time.Duration(req.Lifetime))
}

// review asks the API server who the token's owner is.
func (s *Signer) review(ctx context.Context, bearer string) (Token, *refusal) {
	select {
	case s.reviews <- struct{}{}:
		defer func() { <-s.reviews }()
	case <-ctx.Done():
		return Token{}, busy(ReasonReview, "the control plane is busy")
	}
	audience := names.TokenAudience(s.opts.TrustDomain)
	token, ok, err := s.opts.Tokens.Review(ctx, bearer, audience)
	if err != nil {
		s.opts.Log.Error(err, "Reviewing token")
		return Token{}, busy(ReasonReview, "the API server could not be asked about the token")
	}
	if !ok {
		return Token{}, refuse(http.StatusUnauthorized, ReasonToken,
			"the token is not valid for audience %s: expired, of another audience, or its pod is gone", audience)
	}
	return token, nil
}

// livePod finds the token's pod, waiting a little for one that has only just started.
func (s *Signer) livePod(ctx context.Context, t Token, remote netip.Addr) (model.Workload, *refusal) {
	find := func() (model.Workload, *refusal) {
		w, known := s.opts.Pod(model.Key{Namespace: t.Namespace, Name: t.Pod})
		if no := matchPod(t, w, known); no != nil {
			return w, no
		}
		if s.opts.AnyAddress() {
			return w, nil
		}
		return w, matchAddress(t, w, remote)
	}
	w, no := find()
	if no == nil || no.Retry == 0 || s.opts.Patience <= 0 {
		return w, no
	}
	patience := time.NewTimer(s.opts.Patience)
	defer patience.Stop()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return w, no
		case <-patience.C:
			return w, no
		case <-tick.C:
			if w, no = find(); no == nil || no.Retry == 0 {
				return w, no
			}
		}
	}
}

func (s *Signer) sign(p Principal, key any, wanted time.Duration) (protocol.SignResponse, Principal, *refusal) {
	m, err := s.opts.Authority.signer()
	if err != nil {
		return protocol.SignResponse{}, p, busy(ReasonNotReady, "%v", err)
	}
	l, err := m.issuer.workload(key, p, s.opts.TrustDomain, lifetime(wanted, s.opts.Lifetime()), s.opts.Now())
	switch {
	case errors.Is(err, errSpent):
		return protocol.SignResponse{}, p, busy(ReasonNotReady, "%v", err)
	case err != nil:
		s.opts.Log.Error(err, "Signing certificate", "namespace", p.Namespace, "pod", p.Pod)
		return protocol.SignResponse{}, p, refuse(http.StatusInternalServerError, ReasonInternal, "signing failed; the control plane's log says why")
	}
	return protocol.SignResponse{
		Chain: m.issuer.chainPEM(l), Roots: m.rootPEM, NotBefore: l.notBefore, NotAfter: l.notAfter,
	}, p, nil
}

func limited(l *limiter, key string, now time.Time, reason Reason, message string) *refusal {
	wait, ok := l.take(key, now)
	if ok {
		return nil
	}
	no := refuse(http.StatusTooManyRequests, reason, "%s", message)
	no.Retry = wait
	return no
}

func busy(reason Reason, format string, args ...any) *refusal {
	no := refuse(http.StatusServiceUnavailable, reason, format, args...)
	no.Retry = 2 * time.Second
	return no
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The peer may be gone; there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(body)
}
