// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/typed/authentication/v1"
)

// Extra fields of a bound token's user, https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/.
const (
	extraPodName = "authentication.kubernetes.io/pod-name"
	extraPodUID  = "authentication.kubernetes.io/pod-uid"
)

// TokenReviews asks the API server about tokens. It is the only place here that talks to it.
type TokenReviews struct {
	client v1.TokenReviewInterface
}

// reviewTimeout is how long the API server may take for a review. There are few places for reviews, and one
// that is not answered must not hold its own for as long as the agent waits.
const reviewTimeout = 5 * time.Second

// NewTokenReviews makes TokenReviews on a client, which must be allowed to create tokenreviews.
func NewTokenReviews(client v1.TokenReviewInterface) TokenReviews { return TokenReviews{client} }

// Review implements Tokens.
func (t TokenReviews) Review(ctx context.Context, token, audience string) (Token, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	r, err := t.client.Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{audience}},
	}, metav1.CreateOptions{})
	if err != nil {
		return Token{}, false, fmt.Errorf("create TokenReview: %w", err)
	}
	got, ok := tokenFrom(r.Status, audience)
	return got, ok, nil
}

// tokenFrom reads a review. A server that does not know audiences leaves status.audiences empty;
// its word is not enough, for the token might be meant for somebody else.
func tokenFrom(s authenticationv1.TokenReviewStatus, audience string) (Token, bool) {
	if !s.Authenticated || !slices.Contains(s.Audiences, audience) {
		return Token{}, false
	}
	rest, ok := strings.CutPrefix(s.User.Username, "system:serviceaccount:")
	if !ok {
		return Token{}, false
	}
	ns, sa, ok := strings.Cut(rest, ":")
	if !ok || ns == "" || sa == "" || strings.Contains(sa, ":") {
		return Token{}, false
	}
	return Token{Namespace: ns, ServiceAccount: sa, Pod: one(s.User.Extra[extraPodName]), PodUID: one(s.User.Extra[extraPodUID])}, true
}

func one(values authenticationv1.ExtraValue) string {
	if len(values) != 1 {
		return ""
	}
	return values[0]
}
