// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// tokens vouches for what it holds, for the mesh's audience; it fails for "jwt-unreviewable".
type tokens map[string]Token

func (t tokens) Review(_ context.Context, token, audience string) (Token, bool, error) {
	if token == "jwt-unreviewable" {
		return Token{}, false, errors.New("the API server is away")
	}
	if audience != names.TokenAudience(domain) {
		return Token{}, false, fmt.Errorf("asked for audience %q", audience)
	}
	got, ok := t[token]
	return got, ok, nil
}

// desk is a Signer with its surroundings.
type desk struct {
	*mesh
	t       testing.TB
	signer  *Signer
	opts    SignerOptions
	pods    map[model.Key]model.Workload
	key     crypto.Signer
	metrics *Metrics
	log     logged
}

// logged is what was logged, by requests that may be served at the same time.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}

func newDesk(t testing.TB, change func(*SignerOptions)) *desk {
	t.Helper()
	d := &desk{mesh: newMesh(t), t: t, key: newKey(t)}
	var err error
	d.metrics, err = NewMetrics(prometheus.NewRegistry())
	must(t, err)
	d.pods = map[model.Key]model.Workload{
		{Namespace: "shop", Name: "web-1"}: {
			Key: model.Key{Namespace: "shop", Name: "web-1"}, UID: "uid-1", ServiceAccount: "web", Kind: names.KindSidecar,
			Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
		},
	}
	d.opts = SignerOptions{
		Authority: d.authority,
		Tokens: tokens{
			"jwt-good":    {"shop", "web", "web-1", "uid-1"},
			"jwt-2":       {"shop", "web", "web-2", "uid-2"},
			"jwt-0":       {"shop", "web", "web-1", "uid-0"},
			"jwt-unbound": {Namespace: "shop", ServiceAccount: "web"},
			"jwt-nobody":  {},
			"jwt-bank":    {"bank", "web", "web-1", "uid-1"},
			"jwt-admin":   {"shop", "admin", "web-1", "uid-1"},
		},
		Pod:         func(k model.Key) (model.Workload, bool) { w, ok := d.pods[k]; return w, ok },
		TrustDomain: domain, Patience: -1, Now: d.clock.Now, Metrics: d.metrics,
		Log: funcr.New(func(prefix, args string) { fmt.Fprintln(&d.log, prefix, args) }, funcr.Options{}),
	}
	if change != nil {
		change(&d.opts)
	}
	d.signer, err = NewSigner(d.opts)
	must(t, err)
	return d
}

// pod changes web-1.
func (d *desk) pod(change func(*model.Workload)) {
	k := model.Key{Namespace: "shop", Name: "web-1"}
	w := d.pods[k]
	change(&w)
	d.pods[k] = w
}

// call is one request; zero fields are those of a good one.
type call struct {
	method, token, from, body string
	change                    func(*protocol.SignRequest)
}

func (d *desk) ask(c call) (*httptest.ResponseRecorder, protocol.SignResponse) {
	d.t.Helper()
	if c.method == "" {
		c.method = http.MethodPost
	}
	if c.token == "" {
		c.token = "Bearer jwt-good"
	}
	if c.from == "" {
		c.from = "192.0.2.1:4711"
	}
	if c.body == "" {
		r := protocol.SignRequest{CSR: csrOf(d.t, d.key), Pod: "web-1", PodUID: "uid-1"}
		if c.change != nil {
			c.change(&r)
		}
		b, err := json.Marshal(r)
		must(d.t, err)
		c.body = string(b)
	}
	r := httptest.NewRequest(c.method, protocol.SignPath, strings.NewReader(c.body))
	r.RemoteAddr = c.from
	if c.token != "-" {
		r.Header.Set("Authorization", c.token)
	}
	w := httptest.NewRecorder()
	d.signer.ServeHTTP(w, r)
	var resp protocol.SignResponse
	if w.Code == http.StatusOK {
		must(d.t, json.Unmarshal(w.Body.Bytes(), &resp))
	}
	return w, resp
}

// TestSign: a good request gets a certificate for the key in the CSR, with the identity of the token
// and of the pod; what the CSR claims is nowhere in it.
func TestSign(t *testing.T) {
	d := newDesk(t, nil)
	for _, from := range []string{"192.0.2.1:1", "[::ffff:192.0.2.1]:1", "[2001:db8::1]:1"} {
		w, resp := d.ask(call{from: from})
		if w.Code != http.StatusOK {
			t.Fatalf("from %s: %d %s", from, w.Code, w.Body)
		}
		chain := parsePEM(t, resp.Chain)
		if !d.key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(chain[0].PublicKey) {
			t.Error("signed another key")
		}
		p, err := PrincipalFromCert(chain[0], domain)
		if err != nil || p != somebody() {
			t.Errorf("got %+v, %v", p, err)
		}
		if strings.Contains(string(chain[0].Raw), "admin") || strings.Contains(string(chain[0].Raw), "foreign") || len(chain[0].DNSNames) > 0 {
			t.Error("the CSR's claims are in the certificate")
		}
		if resp.Roots != string(pemOf(d.root.cert)) || !resp.NotAfter.Equal(chain[0].NotAfter) || !resp.NotBefore.Equal(chain[0].NotBefore) {
			t.Errorf("got %+v", resp)
		}
		if got := resp.NotAfter.Sub(d.clock.now); got != 24*time.Hour {
			t.Errorf("lives for %s, want the default", got)
		}
		if w.Header().Get("Cache-Control") != "no-store" {
			t.Error("may be cached")
		}
	}
	if got := testutil.ToFloat64(d.metrics.signed.WithLabelValues(names.KindSidecar)); got != 3 {
		t.Errorf("%v signatures counted", got)
	}
	if log := d.log.String(); strings.Contains(log, "jwt-") || strings.Contains(log, "BEGIN") || !strings.Contains(log, "uid-1") {
		t.Errorf("log: %s", log)
	}
}

// TestSignKinds: the certificate of a gateway, and of a client without a proxy, says so.
func TestSignKinds(t *testing.T) {
	for kind, gateway := range map[string]string{names.KindGateway: "front", names.KindClient: ""} {
		d := newDesk(t, nil)
		d.pod(func(w *model.Workload) { w.Kind, w.Gateway = kind, gateway })
		w, resp := d.ask(call{})
		if w.Code != http.StatusOK {
			t.Fatal(w.Body)
		}
		if p, err := PrincipalFromCert(parsePEM(t, resp.Chain)[0], domain); err != nil || p.Kind != kind {
			t.Errorf("got %+v, %v", p, err)
		}
	}
}

// TestLifetime: the shorter of what the agent wants and what the mesh gives.
func TestLifetime(t *testing.T) {
	for _, c := range []struct{ wanted, mesh, want time.Duration }{
		{0, 0, 24 * time.Hour},
		{0, time.Hour, time.Hour},
		{10 * time.Minute, time.Hour, 10 * time.Minute},
		{48 * time.Hour, 0, 24 * time.Hour},
		{2 * time.Hour, time.Hour, time.Hour},
	} {
		d := newDesk(t, func(o *SignerOptions) { o.Lifetime = func() time.Duration { return c.mesh } })
		w, resp := d.ask(call{change: func(r *protocol.SignRequest) { r.Lifetime = protocol.Duration(c.wanted) }})
		if w.Code != http.StatusOK || resp.NotAfter.Sub(d.clock.now) != c.want {
			t.Errorf("wanted %s of %s: %d, got %s, want %s", c.wanted, c.mesh, w.Code, resp.NotAfter.Sub(d.clock.now), c.want)
		}
	}
}

// TestRefusals: every wrong request, with its status and the reason that is counted.
func TestRefusals(t *testing.T) {
	req := func(change func(*protocol.SignRequest)) call { return call{change: change} }
	pod := func(change func(*model.Workload)) func(*desk) { return func(d *desk) { d.pod(change) } }
	for name, c := range map[string]struct {
		call   call
		before func(*desk)
		status int
		reason Reason
	}{
		"GET":               {call: call{method: http.MethodGet}, status: 405, reason: ReasonMethod},
		"no token":          {call: call{token: "-"}, status: 401, reason: ReasonNoToken},
		"basic":             {call: call{token: "Basic Zm9v"}, status: 401, reason: ReasonNoToken},
		"empty token":       {call: call{token: "Bearer "}, status: 401, reason: ReasonNoToken},
		"garbage body":      {call: call{body: "<csr/>"}, status: 400, reason: ReasonMalformed},
		"list body":         {call: call{body: "[]"}, status: 400, reason: ReasonMalformed},
		"two bodies":        {call: call{body: `{"csr":"x","pod":"p","podUID":"u"}{}`}, status: 400, reason: ReasonMalformed},
		"no CSR":            {call: req(func(r *protocol.SignRequest) { r.CSR = "" }), status: 400, reason: ReasonMalformed},
		"no pod":            {call: req(func(r *protocol.SignRequest) { r.Pod = "" }), status: 400, reason: ReasonMalformed},
		"no uid":            {call: req(func(r *protocol.SignRequest) { r.PodUID = "" }), status: 400, reason: ReasonMalformed},
		"negative life":     {call: req(func(r *protocol.SignRequest) { r.Lifetime = -1 }), status: 400, reason: ReasonMalformed},
		"tiny life":         {call: req(func(r *protocol.SignRequest) { r.Lifetime = protocol.Duration(time.Second) }), status: 400, reason: ReasonMalformed},
		"oversized":         {call: req(func(r *protocol.SignRequest) { r.CSR += strings.Repeat("\n", protocol.MaxSignRequest) }), status: 400, reason: ReasonOversized},
		"malformed CSR":     {call: req(func(r *protocol.SignRequest) { r.CSR = "-----BEGIN" }), status: 400, reason: ReasonCSR},
		"unreviewable":      {call: call{token: "Bearer jwt-unreviewable"}, status: 503, reason: ReasonReview},
		"expired token":     {call: call{token: "Bearer jwt-expired"}, status: 401, reason: ReasonToken},
		"other audience":    {call: call{token: "Bearer jwt-audience"}, status: 401, reason: ReasonToken},
		"nobody's token":    {call: call{token: "Bearer jwt-nobody"}, status: 401, reason: ReasonToken},
		"unbound token":     {call: call{token: "Bearer jwt-unbound"}, status: 401, reason: ReasonUnbound},
		"other pod's token": {call: call{token: "Bearer jwt-2"}, status: 403, reason: ReasonOtherPod},
		"earlier pod's":     {call: call{token: "Bearer jwt-0"}, status: 403, reason: ReasonOtherPod},
		"claims other pod":  {call: req(func(r *protocol.SignRequest) { r.Pod = "bank-1" }), status: 403, reason: ReasonOtherPod},
		"claims other uid":  {call: req(func(r *protocol.SignRequest) { r.PodUID = "uid-2" }), status: 403, reason: ReasonOtherPod},
		"other namespace":   {call: call{token: "Bearer jwt-bank"}, status: 403, reason: ReasonNoPod},
		"other account":     {call: call{token: "Bearer jwt-admin"}, status: 403, reason: ReasonNoPod},
		"replaced pod":      {before: pod(func(w *model.Workload) { w.UID = "uid-9" }), status: 403, reason: ReasonNoPod},
		"ended pod":         {before: pod(func(w *model.Workload) { w.Ended = true }), status: 403, reason: ReasonNoPod},
		"unmeshed pod":      {before: pod(func(w *model.Workload) { w.Kind = "" }), status: 403, reason: ReasonNoPod},
		"unknown kind":      {before: pod(func(w *model.Workload) { w.Kind = "admin" }), status: 403, reason: ReasonNoPod},
		"host network":      {before: pod(func(w *model.Workload) { w.HostNetwork = true }), status: 403, reason: ReasonNoPod},
		"no Gateway":        {before: pod(func(w *model.Workload) { w.Kind = names.KindGateway }), status: 403, reason: ReasonNoPod},
		"no address yet":    {before: pod(func(w *model.Workload) { w.Addresses = nil }), status: 403, reason: ReasonNoPod},
		"replayed":          {call: call{from: "192.0.2.9:4711"}, status: 403, reason: ReasonReplayed},
		"replayed v6":       {call: call{from: "[2001:db8::9]:4711"}, status: 403, reason: ReasonReplayed},
		"from nowhere":      {call: call{from: "@"}, status: 403, reason: ReasonReplayed},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, nil)
			if c.before != nil {
				c.before(d)
			}
			w, _ := d.ask(c.call)
			if w.Code != c.status {
				t.Errorf("status %d, want %d: %s", w.Code, c.status, w.Body)
			}
			if got := testutil.ToFloat64(d.metrics.refused.WithLabelValues(string(c.reason))); got != 1 {
				t.Errorf("reason %s counted %v times", c.reason, got)
			}
			var e protocol.SignError
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Message == "" {
				t.Errorf("the agent cannot read %s", w.Body)
			}
			token := strings.TrimPrefix(c.call.token, "Bearer ")
			if len(token) < 3 {
				token = "jwt-good"
			}
			if log := d.log.String(); !strings.Contains(log, string(c.reason)) || strings.Contains(log, token) {
				t.Errorf("log: %s", log)
			}
			if c.status == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
				t.Error("does not say when to come back")
			}
		})
	}
}

// TestAnyAddress: the address check can be given up, and nothing else with it.
func TestAnyAddress(t *testing.T) {
	d := newDesk(t, func(o *SignerOptions) { o.AnyAddress = func() bool { return true } })
	if w, _ := d.ask(call{from: "192.0.2.9:1"}); w.Code != http.StatusOK {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
	if w, _ := d.ask(call{from: "192.0.2.9:1", token: "Bearer jwt-2"}); w.Code != http.StatusForbidden {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}

// TestForwardedForIsIgnored: a header cannot stand in for the address.
func TestForwardedForIsIgnored(t *testing.T) {
	d := newDesk(t, nil)
	b, err := json.Marshal(protocol.SignRequest{CSR: csrOf(t, d.key), Pod: "web-1", PodUID: "uid-1"})
	must(t, err)
	r := httptest.NewRequest(http.MethodPost, protocol.SignPath, bytes.NewReader(b))
	r.RemoteAddr = "192.0.2.9:1"
	r.Header.Set("Authorization", "Bearer jwt-good")
	r.Header.Set("X-Forwarded-For", "192.0.2.1")
	r.Header.Set("X-Real-IP", "192.0.2.1")
	w := httptest.NewRecorder()
	d.signer.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}

// TestPodRate: a pod gets a burst, then waits; another pod does not pay for it.
func TestPodRate(t *testing.T) {
	d := newDesk(t, nil)
	other := d.pods[model.Key{Namespace: "shop", Name: "web-1"}]
	other.Name, other.UID = "web-2", "uid-2"
	d.pods[other.Key] = other
	for i := range podBurst {
		if w, _ := d.ask(call{}); w.Code != http.StatusOK {
			t.Fatalf("%d of the burst: %s", i, w.Body)
		}
	}
	w, _ := d.ask(call{})
	if w.Code != http.StatusTooManyRequests {
		t.Fatalf("after the burst: %d", w.Code)
	}
	wait, err := strconv.Atoi(w.Header().Get("Retry-After"))
	if err != nil || time.Duration(wait)*time.Second != podInterval {
		t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
	}
	if w, _ := d.ask(call{token: "Bearer jwt-2", change: func(r *protocol.SignRequest) { r.Pod, r.PodUID = "web-2", "uid-2" }}); w.Code != http.StatusOK {
		t.Errorf("another pod: %d %s", w.Code, w.Body)
	}
	d.clock.now = d.clock.now.Add(time.Duration(wait) * time.Second)
	if w, _ := d.ask(call{}); w.Code != http.StatusOK {
		t.Errorf("after the wait: %d %s", w.Code, w.Body)
	}
}

// TestAddressRate: an address that keeps failing is turned away before it costs a review, and that is
// counted, not logged.
func TestAddressRate(t *testing.T) {
	d := newDesk(t, nil)
	for range addressBurst {
		d.ask(call{token: "Bearer jwt-wrong"})
	}
	d.log.Reset()
	if w, _ := d.ask(call{}); w.Code != http.StatusTooManyRequests {
		t.Fatalf("%d", w.Code)
	}
	if got := testutil.ToFloat64(d.metrics.refused.WithLabelValues(string(ReasonAddressRate))); got != 1 || d.log.String() != "" {
		t.Errorf("counted %v, logged %q", got, d.log.String())
	}
	if w, _ := d.ask(call{from: "[2001:db8::1]:1"}); w.Code != http.StatusOK {
		t.Errorf("another address: %d", w.Code)
	}
}

// TestForgedRequestsDoNotUseUpAPodsRate: who cannot prove to be a pod cannot keep it from its certificate.
func TestForgedRequestsDoNotUseUpAPodsRate(t *testing.T) {
	d := newDesk(t, nil)
	for i := range 2 * podBurst {
		d.ask(call{token: "Bearer jwt-wrong", from: fmt.Sprintf("198.51.100.%d:1", i)})
		d.ask(call{from: fmt.Sprintf("198.51.100.%d:1", i)})
	}
	if w, _ := d.ask(call{}); w.Code != http.StatusOK {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}

// TestPatience: a pod that has only just started is waited for, and not for ever.
func TestPatience(t *testing.T) {
	d := newDesk(t, func(o *SignerOptions) { o.Patience = 20 * time.Second })
	w := d.pods[model.Key{Namespace: "shop", Name: "web-1"}]
	var looks atomic.Int32
	d.signer.opts.Pod = func(model.Key) (model.Workload, bool) {
		switch looks.Add(1) {
		case 1:
			return model.Workload{}, false
		case 2:
			early := w
			early.Addresses = nil
			return early, true
		}
		return w, true
	}
	if got, _ := d.ask(call{}); got.Code != http.StatusOK || looks.Load() != 3 {
		t.Errorf("%d after %d looks: %s", got.Code, looks.Load(), got.Body)
	}
	// What waiting cannot change is refused at once.
	d.signer.opts.Pod = func(model.Key) (model.Workload, bool) {
		looks.Add(1)
		ended := w
		ended.Ended = true
		return ended, true
	}
	looks.Store(0)
	if got, _ := d.ask(call{}); got.Code != http.StatusForbidden || looks.Load() != 1 {
		t.Errorf("%d after %d looks", got.Code, looks.Load())
	}
	d.signer.opts.Patience = 2 * look
	d.signer.opts.Pod = func(model.Key) (model.Workload, bool) { return model.Workload{}, false }
	if got, _ := d.ask(call{}); got.Code != http.StatusForbidden || got.Header().Get("Retry-After") != "1" {
		t.Errorf("%d, Retry-After %q", got.Code, got.Header().Get("Retry-After"))
	}
}

// TestNothingToSignWith: no intermediate, or one at its end, is 503 and not a wrong certificate.
func TestNothingToSignWith(t *testing.T) {
	empty, err := NewAuthority(AuthorityOptions{Dir: t.TempDir(), TrustDomain: domain, DNSNames: []string{"x"}})
	must(t, err)
	d := newDesk(t, func(o *SignerOptions) { o.Authority = empty })
	if w, _ := d.ask(call{}); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
	d = newDesk(t, nil)
	d.clock.now = d.inter.cert.NotAfter.Add(-time.Second)
	if w, _ := d.ask(call{}); w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
	if got := testutil.ToFloat64(d.metrics.refused.WithLabelValues(string(ReasonNotReady))); got != 1 {
		t.Errorf("counted %v", got)
	}
}

// FuzzSign: whatever is sent, the answer is JSON, a known status and never a certificate for anybody
// but the token's pod.
func FuzzSign(f *testing.F) {
	d := newDesk(f, func(o *SignerOptions) { o.Log = logr.Discard() })
	good, err := json.Marshal(protocol.SignRequest{CSR: csrOf(f, d.key), Pod: "web-1", PodUID: "uid-1", Lifetime: protocol.Duration(time.Hour)})
	must(f, err)
	for _, token := range []string{"Bearer jwt-good", "Bearer jwt-2", "Bearer jwt-unbound", ""} {
		f.Add(good, token, "192.0.2.1:1")
	}
	f.Add([]byte(`{"csr":"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----","pod":"web-1","podUID":"uid-1"}`), "Bearer jwt-good", "[::1%lo]:0")
	f.Add([]byte(`{"lifetime":"9999999h"}`), "Bearer jwt-good", "")
	f.Add(bytes.Repeat([]byte("["), 20000), "Bearer jwt-good", "x")
	f.Fuzz(func(t *testing.T, body []byte, token, from string) {
		d.clock.now = d.clock.now.Add(time.Nanosecond)
		d.signer.pods, d.signer.addresses = newLimiter(podBurst, podInterval), newLimiter(addressBurst, addressInterval)
		r := httptest.NewRequest(http.MethodPost, protocol.SignPath, bytes.NewReader(body))
		r.RemoteAddr = from
		r.Header.Set("Authorization", token)
		w := httptest.NewRecorder()
		d.signer.ServeHTTP(w, r)
		switch w.Code {
		case http.StatusOK:
			var resp protocol.SignResponse
			must(t, json.Unmarshal(w.Body.Bytes(), &resp))
			p, err := PrincipalFromCert(parsePEM(t, resp.Chain)[0], domain)
			if err != nil || p != somebody() || token != "Bearer jwt-good" {
				t.Errorf("signed %+v for %q: %v", p, token, err)
			}
		case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable:
			var e protocol.SignError
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Message == "" {
				t.Errorf("answered %s", w.Body)
			}
		default:
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})
}
