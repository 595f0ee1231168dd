// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
)

// Source writes metrics in the Prometheus text format.
type Source func(ctx context.Context, w io.Writer) error

// ContentType of what Merge writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// maxSource is how much of one source is read, in bytes: a page is in memory while it is fresh.
const maxSource = 64 << 20

// Merge writes the sources' metrics one after the other to w; own comes last and counts failures.
func Merge(ctx context.Context, w io.Writer, own *Registry, sources map[string]Source, order ...string) {
	for _, name := range order {
		if err := copyText(ctx, w, sources[name]); err != nil {
			own.Count("tulle_agent_"+name+"_scrape_errors_total", "Scrapes of the pod that lack this source's metrics, in part or whole.")
		}
	}
	own.WriteTo(w) //nolint:errcheck // w is memory
}

// copyText passes whole lines on, so that a source that breaks off does not spoil the next one's.
func copyText(ctx context.Context, w io.Writer, s Source) error {
	r, pipe := io.Pipe()
	defer r.Close()
	go func() { pipe.CloseWithError(s(ctx, pipe)) }()
	in := bufio.NewReader(r)
	left := maxSource
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if len(line) > 0 {
				line = append(line, '\n') // the source ended well and left the last one out
			}
		} else if err != nil {
			return fmt.Errorf("read metrics: %w", err)
		}
		if left -= len(line); left < 0 {
			return fmt.Errorf("read metrics: more than %d bytes", maxSource)
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
