// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package probes

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"

	"tulle.dev/tulle/internal/protocol"
)

// http does what the kubelet's HTTP probe does: no keep-alive, no certificate check, redirects are
// followed on the same host only, and 200 to 399 is success.
func (h *Handler) http(ctx context.Context, p *protocol.HTTPProbe, agent string) verdict {
	scheme := "http"
	if strings.EqualFold(p.Scheme, "https") {
		scheme = "https"
	}
	path := p.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+h.pod.Addr(p.Host, p.Port)+path, nil)
	if err != nil {
		return failed(err)
	}
	r.Header.Set("Accept", "*/*")
	r.Header.Set("User-Agent", agent)
	set := map[string]bool{}
	for _, kv := range p.Headers {
		switch name := http.CanonicalHeaderKey(kv[0]); {
		case name == "Host":
			r.Host = kv[1]
		case (name == "Accept" || name == "User-Agent") && kv[1] == "":
			r.Header[name] = nil // the kubelet's way to leave a default header out
		case !set[name]:
			r.Header.Set(name, kv[1])
			set[name] = true
		default:
			r.Header.Add(name, kv[1])
		}
	}
	client := &http.Client{
		Transport: &http.Transport{
			DialContext:        h.pod.DialContext,
			DisableKeepAlives:  true,
			DisableCompression: true,
			// Go's default is 10 MB.
			MaxResponseHeaderBytes: 256 << 10,
			TLSClientConfig:        &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as the kubelet: a probe proves nothing about the server
		},
		CheckRedirect: sameHost,
	}
	resp, err := client.Do(r)
	if err != nil {
		return failed(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode >= http.StatusOK && resp.StatusCode < http.StatusBadRequest {
		// Not the status itself: the kubelet would follow a redirection, to the agent.
		return verdict{http.StatusOK, string(body)}
	}
	return verdict{max(resp.StatusCode, http.StatusBadRequest), string(body)}
}

// sameHost stops at a redirection to another host: the answer is then the redirection itself, a success.
func sameHost(r *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	if r.URL.Hostname() != via[0].URL.Hostname() {
		return http.ErrUseLastResponse
	}
	return nil
}
