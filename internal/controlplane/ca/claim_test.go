// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/protocol"
)

// jwt is a token as the API server makes it, but for the header and the signature.
func jwt(namespace, pod, uid, signature string) string {
	claims := fmt.Sprintf(`{"aud":["x"],"exp":1,"kubernetes.io":{"namespace":%q,"pod":{"name":%q,"uid":%q},"serviceaccount":{"name":"web","uid":"s"}},"sub":"s"}`, namespace, pod, uid)
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "." + signature
}

// counted counts the reviews.
type counted struct {
	tokens
	reviews int
}

func (c *counted) Review(ctx context.Context, token, audience string) (Token, bool, error) {
	c.reviews++
	return c.tokens.Review(ctx, token, audience)
}

// TestFloodFromASharedAddress: where pods share an address, requests that no pod has made do not keep the certificates from
// the pods of the same address, and still cost few reviews.
func TestFloodFromASharedAddress(t *testing.T) {
	const shared = "198.51.100.1:1"
	good := jwt("shop", "web-1", "uid-1", "good")
	for name, c := range map[string]struct {
		token func(i int) string
		as    func(*protocol.SignRequest)
	}{
		"no token":              {func(int) string { return "-" }, nil},
		"tokens of no form":     {func(i int) string { return fmt.Sprint("Bearer jwt-", i) }, nil},
		"of pods that are not":  {func(i int) string { return "Bearer " + jwt("shop", "web-1", fmt.Sprint("uid-9", i), "bad") }, nil},
		"of another namespace":  {func(int) string { return "Bearer " + jwt("bank", "web-1", "uid-1", "bad") }, nil},
		"of another pod":        {func(int) string { return "Bearer " + jwt("shop", "web-2", "uid-2", "bad") }, nil},
		"the request names web": {func(i int) string { return fmt.Sprint("Bearer jwt-", i) }, func(r *protocol.SignRequest) { r.Pod, r.PodUID = "web-1", "uid-1" }},
	} {
		t.Run(name, func(t *testing.T) {
			tokens := &counted{tokens: tokens{good: {"shop", "web", "web-1", "uid-1"}}}
			d := newDesk(t, func(o *SignerOptions) { o.AnyAddress, o.Tokens = func() bool { return true }, tokens })
			other := d.pods[model.Key{Namespace: "shop", Name: "web-1"}]
			other.Name, other.UID = "web-2", "uid-2"
			d.pods[other.Key] = other
			for second := range 10 {
				for i := range 2 * addressBurst {
					d.ask(call{token: c.token(i), from: shared, change: c.as})
				}
				if second%5 == 0 {
					if w, _ := d.ask(call{token: "Bearer " + good, from: shared}); w.Code != http.StatusOK {
						t.Errorf("after %d s: %d: %s", second, w.Code, w.Body)
					}
				}
				d.clock.now = d.clock.now.Add(time.Second)
			}
			if most := addressBurst + int(10*time.Second/addressInterval) + 2; tokens.reviews > most {
				t.Errorf("%d reviews, want %d at most", tokens.reviews, most)
			}
		})
	}
}

// TestFloodInAPodsName: a client that names a pod in a token that is not valid causes few reviews.
func TestFloodInAPodsName(t *testing.T) {
	tokens := &counted{}
	d := newDesk(t, func(o *SignerOptions) { o.AnyAddress, o.Tokens = func() bool { return true }, tokens })
	for i := range 10 * addressBurst {
		d.ask(call{token: "Bearer " + jwt("shop", "web-1", "uid-1", fmt.Sprint(i)), from: fmt.Sprintf("198.51.100.%d:1", i%250)})
	}
	if tokens.reviews > addressBurst {
		t.Errorf("%d reviews", tokens.reviews)
	}
}

// TestClaimsCountOnlyWithoutTheAddressCheck: where addresses are checked, they are what requests are counted by.
func TestClaimsCountOnlyWithoutTheAddressCheck(t *testing.T) {
	tokens := &counted{}
	d := newDesk(t, func(o *SignerOptions) { o.Tokens = tokens })
	for range addressBurst {
		d.ask(call{token: "Bearer jwt-wrong"})
	}
	if w, _ := d.ask(call{token: "Bearer " + jwt("shop", "web-1", "uid-1", "x")}); w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "this address") {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}

// FuzzClaimedPod: whatever a token holds, it names a pod or none, and looking at it ends soon.
func FuzzClaimedPod(f *testing.F) {
	f.Add(jwt("shop", "web-1", "uid-1", "x"))
	f.Add("..")
	f.Add("a.e30.b")
	f.Add("a." + base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("[", 20_000))) + ".b")
	f.Add("a." + base64.RawURLEncoding.EncodeToString([]byte(`{"kubernetes.io":null}`)) + ".b")
	f.Fuzz(func(t *testing.T, token string) {
		began := time.Now()
		if k, uid := claimedPod(token); len(k.Namespace)+len(k.Name)+len(uid) > 3*len(token) {
			t.Errorf("%v, %q", k, uid)
		}
		if took := time.Since(began); len(token) < 1<<16 && took > time.Second {
			t.Errorf("took %v", took)
		}
	})
}
