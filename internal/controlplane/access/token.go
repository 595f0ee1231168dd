// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package access

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxToken is the longest token that is looked at, in bytes. Those of ServiceAccounts have about 1,200.
const maxToken = 8 << 10

// bearer returns the token of a request; empty if it has none.
func bearer(h http.Header) string {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// checkShape returns an error for a token that the API server cannot accept for this audience: it is not a
// JSON Web Token, is for another audience, or has ended. It proves nothing; it saves the API server the
// question.
func checkShape(token, audience string, now time.Time) error {
	if len(token) > maxToken {
		return errors.New("the token is too long")
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("the token is not a ServiceAccount's")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return errors.New("the token is not a ServiceAccount's")
	}
	var claims struct {
		Audience audiences `json:"aud"`
		Expires  float64   `json:"exp"`
	}
	if err := json.Unmarshal(text, &claims); err != nil {
		return errors.New("the token is not a ServiceAccount's")
	}
	if !slices.Contains(claims.Audience, audience) {
		return fmt.Errorf("the token is not for the audience %s", audience)
	}
	if claims.Expires <= float64(now.Unix()) {
		return errors.New("the token has expired")
	}
	return nil
}

// audiences is the claim "aud", which is one string or a list (RFC 7519, 4.1.3).
type audiences []string

func (a *audiences) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*a = audiences{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(a))
}
