// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"context"
	"errors"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"

	"tulle.dev/tulle/internal/names"
)

// TestTokenFrom: what of an API server's answer counts as a pod's token.
func TestTokenFrom(t *testing.T) {
	audience := names.TokenAudience(domain)
	good := func() authenticationv1.TokenReviewStatus {
		return authenticationv1.TokenReviewStatus{
			Authenticated: true, Audiences: []string{audience},
			User: authenticationv1.UserInfo{
				Username: "system:serviceaccount:shop:web",
				Extra:    map[string]authenticationv1.ExtraValue{extraPodName: {"web-1"}, extraPodUID: {"uid-1"}},
			},
		}
	}
	want := Token{Namespace: "shop", ServiceAccount: "web", Pod: "web-1", PodUID: "uid-1"}
	if got, ok := tokenFrom(good(), audience); !ok || got != want {
		t.Errorf("got %+v, %v", got, ok)
	}
	for name, change := range map[string]func(*authenticationv1.TokenReviewStatus){
		"not authenticated": func(s *authenticationv1.TokenReviewStatus) { s.Authenticated = false },
		"audience unsaid":   func(s *authenticationv1.TokenReviewStatus) { s.Audiences = nil },
		"other audience":    func(s *authenticationv1.TokenReviewStatus) { s.Audiences = []string{"https://kubernetes.default.svc"} },
		"a user":            func(s *authenticationv1.TokenReviewStatus) { s.User.Username = "admin" },
		"a node":            func(s *authenticationv1.TokenReviewStatus) { s.User.Username = "system:node:n1" },
		"no name":           func(s *authenticationv1.TokenReviewStatus) { s.User.Username = "system:serviceaccount:shop:" },
		"no namespace":      func(s *authenticationv1.TokenReviewStatus) { s.User.Username = "system:serviceaccount::web" },
		"too many parts":    func(s *authenticationv1.TokenReviewStatus) { s.User.Username += ":x" },
		"one part":          func(s *authenticationv1.TokenReviewStatus) { s.User.Username = "system:serviceaccount:shop" },
	} {
		t.Run(name, func(t *testing.T) {
			s := good()
			change(&s)
			if got, ok := tokenFrom(s, audience); ok {
				t.Errorf("taken as %+v", got)
			}
		})
	}
	s := good()
	s.User.Extra[extraPodUID] = authenticationv1.ExtraValue{"uid-1", "uid-2"}
	if got, _ := tokenFrom(s, audience); got.PodUID != "" {
		t.Errorf("of two uids one was chosen: %+v", got)
	}
}

// reviews is the API server's side of a review.
type reviews struct {
	authenticationclient.TokenReviewInterface
	got *authenticationv1.TokenReview
	err error
}

func (r *reviews) Create(_ context.Context, in *authenticationv1.TokenReview, _ metav1.CreateOptions) (*authenticationv1.TokenReview, error) {
	r.got = in
	return &authenticationv1.TokenReview{}, r.err
}

// TestReviewAsks: the token is reviewed for the mesh's audience alone, and a failed review is an
// error, not a refusal.
func TestReviewAsks(t *testing.T) {
	r := &reviews{}
	if _, ok, err := NewTokenReviews(r).Review(t.Context(), "tok", "aud"); ok || err != nil {
		t.Errorf("got %v, %v", ok, err)
	}
	if s := r.got.Spec; s.Token != "tok" || len(s.Audiences) != 1 || s.Audiences[0] != "aud" {
		t.Errorf("asked %+v", s)
	}
	r.err = errors.New("away")
	if _, _, err := NewTokenReviews(r).Review(t.Context(), "tok", "aud"); !errors.Is(err, r.err) {
		t.Errorf("got %v", err)
	}
}
