// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Source writes metrics in the Prometheus text format.
type Source func(ctx context.Context, w io.Writer) error

// ContentType of what Merge writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// maxSource is how much of one source is read, in bytes: a page is in memory while it is fresh.
const maxSource = 64 << 20

// CheckedSource writes valid metrics, all or none, without those whose names are reserved. left is how many lines were
// left out for that.
type CheckedSource func(ctx context.Context, w io.Writer, reserved func(name string) bool) (left int, err error)

// Names and help of the counters of Merge.
const (
	envoyErrors     = "tulle_agent_envoy_scrape_errors_total"
	envoyErrorsHelp = "Scrapes of the pod that lack Envoy's metrics, in part or whole."
	appErrors       = "tulle_agent_app_scrape_errors_total"
	appErrorsHelp   = "Scrapes of the pod that lack the application's metrics. A comment in the scrape has the reason."
	appReserved     = "tulle_agent_app_scrape_name_conflicts_total"
	appReservedHelp = "Scrapes of the pod that lack metrics of the application which have the same name as one of the proxy's."
)

// ownPrefix begins the names of the agent's own metrics.
const ownPrefix = "tulle_"

// Merge writes Envoy's metrics to w, then the application's, unless app is nil. own comes last and counts failures.
func Merge(ctx context.Context, w io.Writer, own *Registry, envoy Source, app CheckedSource) {
	own.Expect(envoyErrors, envoyErrorsHelp)
	taken := map[string]bool{}
	if err := copyText(ctx, w, envoy, taken); err != nil {
		own.Count(envoyErrors, envoyErrorsHelp)
	}
	if app != nil {
		own.Expect(appErrors, appErrorsHelp)
		own.Expect(appReserved, appReservedHelp)
		left, err := app(ctx, w, func(name string) bool { return isTaken(name, taken) })
		if err != nil {
			own.Count(appErrors, appErrorsHelp)
			fmt.Fprintf(w, "# The application's metrics are left out: %s\n", oneLine(err.Error()))
		}
		if left > 0 {
			own.Count(appReserved, appReservedHelp)
		}
	}
	own.WriteTo(w) //nolint:errcheck // w is memory
}

// isTaken reports whether a metric, or the histogram or summary that it would be a sample of, is one of the proxy's.
func isTaken(name string, taken map[string]bool) bool {
	if strings.HasPrefix(name, ownPrefix) || taken[name] {
		return true
	}
	for _, s := range suffixes {
		if base, ok := strings.CutSuffix(name, s); ok && taken[base] || taken[name+s] {
			return true
		}
	}
	return false
}

// maxReason is the length of a reason in a comment.
const maxReason = 300

// oneLine is a text as part of a comment.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "..."
	}
	return s
}

// copyText passes whole lines on, so that a source that breaks off does not spoil the next one's. It adds the names of
// metrics to families.
func copyText(ctx context.Context, w io.Writer, s Source, families map[string]bool) error {
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
		if rest, ok := bytes.CutPrefix(line, []byte("# TYPE ")); ok {
			name, _, _ := bytes.Cut(rest, []byte(" "))
			families[string(name)] = true
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
