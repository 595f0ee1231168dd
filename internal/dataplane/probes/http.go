// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package probes

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"slices"
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
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRead))
	v := verdict{status: http.StatusOK, text: string(body[:min(len(body), maxAnswer)]), broken: err != nil}
	if resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusBadRequest {
		v.status = max(resp.StatusCode, http.StatusBadRequest)
	} // otherwise not the status itself: the kubelet would follow a redirection, to the agent
	return v
}

// httpHook does what the kubelet does for an HTTP hook: if a server answers HTTP where HTTPS was asked for, it is
// asked again without TLS and without credentials.
func (h *Handler) httpHook(ctx context.Context, p *protocol.HTTPProbe, agent string) verdict {
	v := h.http(ctx, p, agent)
	if v.lost == nil || !strings.Contains(v.lost.Error(), "server gave HTTP response to HTTPS client") {
		return v
	}
	plain := *p
	plain.Scheme = "HTTP"
	plain.Headers = slices.DeleteFunc(slices.Clone(p.Headers), func(kv [2]string) bool {
		return http.CanonicalHeaderKey(kv[0]) == "Authorization"
	})
	return h.http(ctx, &plain, agent)
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
