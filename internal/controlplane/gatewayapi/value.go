// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"encoding/hex"
	"strings"
	"time"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// checkText refuses what no header may carry (RFC 9110, 5.5); the API server lets it pass.
func checkText(s string) string {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return "has a control character"
		}
	}
	return ""
}

// checkPath refuses what is not an absolute path of RFC 3986 characters.
func checkPath(s string) string {
	if !strings.HasPrefix(s, "/") {
		return "must begin with /"
	}
	for i := range len(s) {
		if !unreserved(s[i]) && strings.IndexByte("!$&'()*+,;=:@/%", s[i]) < 0 {
			return "may hold only the characters of a URL path"
		}
	}
	return ""
}

// checkMatch refuses a path in normal form that no request has (HTTPPathMatch).
func checkMatch(s string) string {
	if wrong := checkPath(s); wrong != "" {
		return wrong
	}
	for i := range len(s) {
		if _, ok := octet(s[i:]); s[i] == '%' && !ok {
			return "has a % that two hexadecimal digits must follow"
		}
	}
	if strings.Contains(s+"/", "/./") || strings.Contains(s+"/", "/../") {
		return "must not have the segments . and .., which are removed from requests before they are matched"
	}
	return ""
}

// normalPath brings percent-encoded octets to the normal form of RFC 3986, 6.2.2: requests are
// brought to it before they are matched, so that no other could be met. What is no encoded octet stays.
func normalPath(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c, ok := octet(s[i:])
		switch {
		case !ok:
			b.WriteByte(s[i])
			continue
		case unreserved(c):
			b.WriteByte(c)
		default:
			b.WriteString(strings.ToUpper(s[i : i+3]))
		}
		i += 2
	}
	return b.String()
}

// octet reads the percent-encoded octet that s begins with.
func octet(s string) (byte, bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	c, err := hex.DecodeString(s[1:3])
	if err != nil {
		return 0, false
	}
	return c[0], true
}

// unreserved characters mean the same whether they are encoded or not (RFC 3986, 2.3).
func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// duration reads a GEP-2257 duration; nil is 0.
func duration(d *gwapiv1.Duration, field string) (time.Duration, []Problem) {
	if d == nil {
		return 0, nil
	}
	v, err := time.ParseDuration(string(*d))
	if err != nil || v < 0 {
		return 0, []Problem{unsupported(field, "%q is not a duration such as 10s or 1m30s", *d)}
	}
	return v, nil
}

// or is what p points to, or the default.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
