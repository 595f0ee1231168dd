// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Source writes metrics in the Prometheus text format.
type Source func(ctx context.Context, w io.Writer) error

// ContentType of what Handler writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Handler writes the sources' metrics one after the other; own comes last and counts failures.
func Handler(own *Registry, sources map[string]Source, order ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", ContentType)
		for _, name := range order {
			if err := copyText(r.Context(), w, sources[name]); err != nil {
				own.Count("tulle_agent_"+name+"_scrape_errors_total", "Scrapes of the pod that lack this source's metrics, in part or whole.")
			}
		}
		own.WriteTo(w) //nolint:errcheck // the scraper has gone
	})
}

// copyText passes whole lines on, so that a source that breaks off does not spoil the next one's.
func copyText(ctx context.Context, w io.Writer, s Source) error {
	r, pipe := io.Pipe()
	defer r.Close()
	go func() { pipe.CloseWithError(s(ctx, pipe)) }()
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if len(line) > 0 {
				line = append(line, '\n') // the source ended well and left the last one out
			}
		} else if err != nil {
			return fmt.Errorf("read metrics: %w", err)
		}
		// The end mark of OpenMetrics would end the scrape.
		if string(line) != "# EOF\n" {
			if _, err := w.Write(line); err != nil {
				return fmt.Errorf("pass metrics on: %w", err)
			}
		}
		if err != nil {
			return nil
		}
	}
}

// maxScrape is how long an application may take, under Prometheus' usual limit of 10 s.
const maxScrape = 8 * time.Second

// HTTP is a source that is served over HTTP at the URL, reached by client.
func HTTP(client *http.Client, url string) Source {
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
		_, err = io.Copy(w, resp.Body)
		return err
	}
}
