// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Bounds of a scrape of the application.
const (
	maxApp        = 16 << 20 // of the body, after decompression
	maxAppHeaders = 64 << 10
	maxRedirects  = 5
)

// App is the application's metrics, over HTTP. Its answer is in the page whole and valid, or not at all.
type App struct {
	// Dial makes connections.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	URL  string
}

// reader returns a function that reads the application's answer. Redirections are followed on the same host and port
// only: the agent's own connections go past the proxy, so the application must not choose where they lead. Of a body
// longer than 16 MiB nothing more is read, and the answer has an error.
func (a App) reader() func(ctx context.Context) *answer {
	client := &http.Client{
		Transport:     &http.Transport{DialContext: a.Dial, MaxIdleConns: 1, IdleConnTimeout: 5 * time.Second, MaxResponseHeaderBytes: maxAppHeaders},
		CheckRedirect: sameHost,
	}
	return func(ctx context.Context) *answer {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL, nil)
		if err != nil {
			return &answer{err: err}
		}
		r.Header.Set("Accept", "text/plain;version=0.0.4")
		resp, err := client.Do(r)
		if of := (&url.Error{}); errors.As(err, &of) {
			err = of.Err // without the address, which may be one that the application redirects to
		}
		if err != nil {
			return &answer{err: fmt.Errorf("get the application's metrics: %w", err)}
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return &answer{err: fmt.Errorf("get the application's metrics: %s", resp.Status)}
		}
		kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxApp+1))
		if err != nil {
			err = fmt.Errorf("read the application's metrics: %w", err)
		}
		if len(body) > maxApp {
			body, err = nil, fmt.Errorf("the application's metrics are longer than %d bytes", maxApp)
		}
		return &answer{kind: kind, body: body, err: err}
	}
}

// sameHost stops at a redirection to another host or port; the answer is then the redirection, which is no metrics.
func sameHost(r *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return errors.New("too many redirections")
	}
	if r.URL.Scheme != via[0].URL.Scheme || r.URL.Host != via[0].URL.Host {
		return http.ErrUseLastResponse
	}
	return nil
}
