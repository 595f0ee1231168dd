// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Bounds of a scrape of the application.
const (
	maxScrape     = 8 * time.Second // under Prometheus' usual limit of 10 s
	maxApp        = 16 << 20        // of the body, after decompression
	maxAppHeaders = 64 << 10
	maxRedirects  = 5
)

// HTTP returns a source that is served over HTTP at the URL. Connections are made by dial. Redirections are
// followed on the same host and port only: the agent's own connections go past the proxy, so the application
// must not choose where they lead. Of a body longer than 16 MiB nothing more is read, and the source fails.
func HTTP(dial func(ctx context.Context, network, addr string) (net.Conn, error), url string) Source {
	client := &http.Client{
		Transport:     &http.Transport{DialContext: dial, MaxIdleConns: 1, IdleConnTimeout: 5 * time.Second, MaxResponseHeaderBytes: maxAppHeaders},
		CheckRedirect: sameHost,
	}
	return func(ctx context.Context, w io.Writer) error {
		ctx, cancel := context.WithTimeout(ctx, maxScrape)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		// The plain text format only: others cannot be merged by appending.
		r.Header.Set("Accept", "text/plain;version=0.0.4")
		resp, err := client.Do(r)
		if err != nil {
			return fmt.Errorf("get the application's metrics: %w", err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("get the application's metrics: %s", resp.Status)
		}
		n, err := io.Copy(w, io.LimitReader(resp.Body, maxApp+1))
		if err == nil && n > maxApp {
			err = fmt.Errorf("the application's metrics are longer than %d bytes", maxApp)
		}
		return err
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
