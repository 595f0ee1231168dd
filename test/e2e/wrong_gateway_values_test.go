// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// refused: what the definitions of the Gateway API rule out is told to whoever applies it.
func (w wrongs) refused(t *testing.T) {
	const listeners = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: refused, namespace: %s}
spec: {gatewayClassName: tulle, listeners: [%s]}
`
	tooLong := wrongRoute{name: "too-long", rule: "{matches: [{headers: [{name: X, value: " + strings.Repeat("v", 10_000) + "}]}], " + right + "}"}
	for name, k := range map[string]struct {
		docs string
		says []string
	}{
		"a value of 10,000 characters": {tooLong.yaml(w.ns), []string{"spec.rules[0].matches[0].headers[0].value", fmt.Sprint(longest)}},
		"HTTPS that is passed through": {
			fmt.Sprintf(listeners, w.ns, "{name: a, port: 443, protocol: HTTPS, tls: {mode: Passthrough}}"), []string{"spec.listeners", "must be Terminate for protocol HTTPS"},
		},
		"two listeners alike": {
			fmt.Sprintf(listeners, w.ns, "{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: HTTP}"), []string{"spec.listeners", "port, protocol and hostname must be unique"},
		},
	} {
		err := w.c.TryApply(t.Context(), k.docs)
		for _, word := range k.says {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v, want %q", name, err, word)
			}
		}
	}
}

// odd: an expression that would take other engines ages, and the longest values there are, just work.
func (w wrongs) odd(t *testing.T) {
	header := func(value string) http.Header { return http.Header{"X": []string{value}} }
	many := strings.Repeat("a", 10_000)
	w.wants(t, "steep.example", "/", header(many), http.StatusOK)
	w.wants(t, "steep.example", "/", header(many+"b"), http.StatusNotFound)
	if _, took, err := w.ask(t, "steep.example", "/", header(many+"b")); err != nil || took > 5*time.Second {
		t.Errorf("a value on which backtracking explodes took %v, %v", took, err)
	}
	w.wants(t, "long.example", "/", header(strings.Repeat("v", longest)), http.StatusOK)
	w.wants(t, "long.example", "/", header(strings.Repeat("v", longest-1)), http.StatusNotFound)
	w.wants(t, "steady.example", "/", header(many), http.StatusOK)
}

// certificates: a bad one takes its own listener's host name away and nothing else; one that has ended is
// shown all the same; and one that is mended is served.
func (w wrongs) certificates(t *testing.T) {
	browser := w.authority.client(w.addr)
	// No route is for these: who gets 404 got through TLS.
	served := func(host string) error {
		res, err := browser.Get("https://" + host + "/")
		if err != nil {
			return err
		}
		res.Body.Close()
		if res.StatusCode != http.StatusNotFound {
			return fmt.Errorf("%s", res.Status)
		}
		return nil
	}
	steadily(t, "a good certificate is served", func() error { return served("good.example") })
	for host, says := range map[string]string{
		"expired.example": "expired", "missing.example": "", "malformed.example": "", "unlike.example": "", "weak.example": "", "stolen.example": "",
	} {
		if err := served(host); err == nil || !strings.Contains(err.Error(), says) || says == "" && strings.Contains(err.Error(), "x509") {
			t.Errorf("https://%s: %v", host, err)
		}
	}
	for _, name := range []string{"malformed", "unlike", "expired"} {
		w.c.MustApply(t, secret(w.ns, name, w.authority.issue(t, name+".example", day)))
		steadily(t, name+" is mended", func() error { return served(name + ".example") })
	}
}
