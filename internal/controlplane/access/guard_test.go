// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package access

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
)

const audience = "internal.tulle.dev"

func start() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// token is one that says of itself who it is of and what it is for, as a JSON Web Token does. No one signed it.
func token(user, claims string) string {
	b := base64.RawURLEncoding.EncodeToString
	return b([]byte(`{"alg":"none"}`)) + "." + b([]byte(claims)) + "." + b([]byte(user))
}

func good(user string) string {
	return token(user, fmt.Sprintf(`{"aud":[%q],"exp":%d}`, audience, start().Add(time.Hour).Unix()))
}

// api plays the API server: it believes what tokens say.
type api struct {
	authenticationclient.TokenReviewInterface
	authorizationclient.SubjectAccessReviewInterface

	mu      sync.Mutex // guards all below
	tokens  int        // reviews of tokens
	reviews []authorizationv1.SubjectAccessReviewSpec
	down    bool
	// hold, if not nil, is waited for by the reviews of strangers.
	hold chan struct{}
	// slow is how long a review of a token takes.
	slow time.Duration
	// noAudiences: it does not support them.
	noAudiences bool
}

type tokens struct{ *api }

func (a tokens) Create(ctx context.Context, r *authenticationv1.TokenReview, _ metav1.CreateOptions) (*authenticationv1.TokenReview, error) {
	a.mu.Lock()
	a.tokens++
	down, hold, slow := a.down, a.hold, a.slow
	a.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	parts := strings.Split(r.Spec.Token, ".")
	user, _ := base64.RawURLEncoding.DecodeString(parts[2])
	if hold != nil && strings.HasPrefix(string(user), "stranger") {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	out := r.DeepCopy()
	if !strings.HasPrefix(string(user), "stranger") {
		out.Status = authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: r.Spec.Audiences, User: authenticationv1.UserInfo{
			Username: string(user), Groups: []string{"g"}, UID: "u", Extra: map[string]authenticationv1.ExtraValue{"k": {"v"}},
		}}
		if a.noAudiences {
			out.Status.Audiences = nil
		}
	}
	return out, nil
}

type accesses struct{ *api }

func (a accesses) Create(_ context.Context, r *authorizationv1.SubjectAccessReview, _ metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reviews = append(a.reviews, r.Spec)
	out := r.DeepCopy()
	out.Status.Allowed = r.Spec.User == "operator" || r.Spec.User == "lead" && r.Spec.ResourceAttributes.Subresource == "debug"
	return out, nil
}

func (a *api) asked() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tokens
}

// clock is a time that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func guard(a *api) (*Guard, *clock) {
	c := &clock{now: start()}
	return New(Options{Tokens: tokens{a}, Access: accesses{a}, Mesh: "tulle", Namespace: "tulle-system", Audience: audience, Now: c.Now, Log: logr.Discard()}), c
}

// call asks for debug, or another subresource, and returns the status code and the body.
func call(g *Guard, from, authorization string, subresource ...string) (int, string) {
	r := httptest.NewRequest(http.MethodGet, "/debug/proxies", http.NoBody)
	r.RemoteAddr = from
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	g.Require(append(subresource, "debug")[0], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("everything"))
	})).ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// TestRequire: who may read, and what the others are told. Tokens that cannot be good cost the API server nothing.
func TestRequire(t *testing.T) {
	expires := start().Add(time.Hour).Unix()
	for name, c := range map[string]struct {
		authorization, subresource string
		change                     func(*api)
		code, asked                int
		says                       string
	}{
		"no token":            {"", "debug", nil, 401, 0, audience},
		"a password":          {"Basic b3BlcmF0b3I6eA==", "debug", nil, 401, 0, audience},
		"not a token":         {"Bearer x", "debug", nil, 401, 0, "not a ServiceAccount's"},
		"not base64":          {"Bearer a.&.c", "debug", nil, 401, 0, "not a ServiceAccount's"},
		"not JSON":            {"Bearer " + token("operator", "aud"), "debug", nil, 401, 0, "not a ServiceAccount's"},
		"the API server's":    {"Bearer " + token("operator", fmt.Sprintf(`{"aud":["https://kubernetes.default.svc"],"exp":%d}`, expires)), "debug", nil, 401, 0, "not for the audience"},
		"the signing port's":  {"Bearer " + token("operator", fmt.Sprintf(`{"aud":"tulle.dev/cluster.local","exp":%d}`, expires)), "debug", nil, 401, 0, "not for the audience"},
		"expired":             {"Bearer " + token("operator", fmt.Sprintf(`{"aud":[%q],"exp":%d}`, audience, start().Unix())), "debug", nil, 401, 0, "expired"},
		"too long":            {"Bearer " + good(strings.Repeat("x", maxToken)), "debug", nil, 401, 0, "too long"},
		"forged":              {"Bearer " + good("stranger"), "debug", nil, 401, 1, "does not accept"},
		"may not":             {"Bearer " + good("somebody"), "debug", nil, 403, 1, "somebody may not get controlplanes/debug.tulle.dev in namespace tulle-system"},
		"may not this":        {"Bearer " + good("lead"), "progress", nil, 403, 1, "controlplanes/progress"},
		"may":                 {"Bearer " + good("lead"), "debug", nil, 200, 1, "everything"},
		"the operator":        {"bearer " + good("operator"), "progress", nil, 200, 1, "everything"},
		"a string":            {"Bearer " + token("operator", fmt.Sprintf(`{"aud":%q,"exp":%d}`, audience, expires)), "debug", nil, 200, 1, "everything"},
		"the API server away": {"Bearer " + good("operator"), "debug", func(a *api) { a.down = true }, 503, 1, "try again"},
		"no audiences":        {"Bearer " + good("operator"), "debug", func(a *api) { a.noAudiences = true }, 401, 1, "does not accept"},
	} {
		t.Run(name, func(t *testing.T) {
			a := &api{}
			if c.change != nil {
				c.change(a)
			}
			g, _ := guard(a)
			code, body := call(g, "192.0.2.1:1", c.authorization, c.subresource)
			if code != c.code || !strings.Contains(body, c.says) || code != 200 && strings.Contains(body, "everything") {
				t.Errorf("%d %s", code, body)
			}
			if a.tokens != c.asked {
				t.Errorf("the API server was asked %d times, want %d", a.tokens, c.asked)
			}
			for _, r := range a.reviews {
				if r.UID != "u" || len(r.Groups) != 1 || len(r.Extra) != 1 || r.ResourceAttributes.Namespace != "tulle-system" || r.ResourceAttributes.Name != "tulle" {
					t.Errorf("asked for %+v", r)
				}
			}
		})
	}
}

// TestKept: the API server's word is used again for a while, and not longer, for one token and one purpose.
func TestKept(t *testing.T) {
	a := &api{}
	g, c := guard(a)
	for _, step := range []struct {
		after         time.Duration
		user, purpose string
		code, asked   int
	}{
		{0, "operator", "debug", 200, 1},
		{keep - 1, "operator", "debug", 200, 1},
		{0, "operator", "progress", 200, 2},
		{0, "lead", "debug", 200, 3},
		{0, "lead", "progress", 403, 4},
		{0, "lead", "progress", 403, 4},
		{1, "operator", "debug", 200, 5},
		{keep, "lead", "progress", 403, 6},
	} {
		c.add(step.after)
		if code, body := call(g, "192.0.2.1:1", "Bearer "+good(step.user), step.purpose); code != step.code || a.asked() != step.asked {
			t.Errorf("%+v: %d %s, asked %d times", step, code, body, a.asked())
		}
	}
	// What is no longer allowed ends with what is kept, and an API server that does not answer allows nothing.
	c.add(keep)
	a.mu.Lock()
	a.down = true
	a.mu.Unlock()
	if code, _ := call(g, "192.0.2.1:1", "Bearer "+good("operator")); code != 503 {
		t.Errorf("allowed without the API server: %d", code)
	}
}

// TestOneReview: fifty requests with one token cost one review.
func TestOneReview(t *testing.T) {
	a := &api{}
	g, _ := guard(a)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if code, body := call(g, "192.0.2.1:1", "Bearer "+good("operator")); code != 200 {
				t.Errorf("%d %s", code, body)
			}
		})
	}
	wg.Wait()
	if n := a.asked(); n != 1 {
		t.Errorf("%d reviews", n)
	}
}

// TestMemory: what is remembered of callers is bounded.
func TestMemory(t *testing.T) {
	in := map[caller]kept{}
	who := func(i int) caller { return caller{token: [32]byte{byte(i), byte(i >> 8)}} }
	for i := range 10 * maxKept {
		remember(in, who(i), kept{at: start().Add(time.Duration(i))}, time.Hour)
	}
	if len(in) != maxKept {
		t.Errorf("%d are kept", len(in))
	}
	if _, newest := in[who(10*maxKept-1)]; !newest {
		t.Error("the newest was forgotten")
	}
	s := senders{}
	busy := netip.MustParseAddr("192.0.2.1")
	for i := range 4 * maxAddresses {
		s.add(busy, start())
		s.add(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i)), start())
	}
	if len(s) > maxAddresses {
		t.Errorf("%d addresses are remembered", len(s))
	}
	if n := s.add(busy, start()); n != maxRecent {
		t.Errorf("of an address that sends all the time %d tokens count", n)
	}
	later := start().Add(maxRecent * forget)
	if n := s.add(busy, later); n != 0 {
		t.Errorf("after a while still %d tokens count", n)
	}
	if s.add(netip.MustParseAddr("192.0.2.2"), later); len(s) != 2 {
		t.Errorf("%d addresses are remembered whose tokens no longer count", len(s)-2)
	}
}

// FuzzToken: whatever is sent as a token is refused or passed on to the API server, without a panic.
func FuzzToken(f *testing.F) {
	for _, s := range []string{"", "Bearer ", "Bearer a.b.c", "Bearer " + good("operator"), "Bearer " + token("x", `{"aud":{"a":1},"exp":1e999}`), "Bearer " + token("x", `[[[[`)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		tok := bearer(http.Header{"Authorization": {header}})
		if err := checkShape(tok, audience, start()); err == nil && strings.Count(tok, ".") != 2 {
			t.Errorf("%q may be good", tok)
		}
	})
}
