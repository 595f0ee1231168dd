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
	"net/http"
	"strconv"
	"strings"
	"unicode"

	"tulle.dev/tulle/internal/clip"
	"tulle.dev/tulle/internal/scrape"
)

// Source writes metrics in the Prometheus text format.
type Source func(ctx context.Context, w io.Writer) error

// ContentType of a Page.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// maxSource is how much of one source is read, in bytes: a page is in memory while it is fresh.
const maxSource = 64 << 20

// Names and help of the counters of Page.
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

// Page serves the metrics of a pod: Envoy's, then the application's, then the agent's own. How long a client waits for
// the application is its own matter: after that time it gets the page without the application's part. Envoy and the
// application are each read once for all clients that ask at the same time, or within scrape.Age. Safe for concurrent use.
type Page struct {
	envoy *scrape.Handler
	app   *shared // nil: there is none
	own   *Registry
}

// NewPage returns a Page. measure is called each time before Envoy is read. If app is nil, the page has no part of an
// application. own counts what is missing in pages.
func NewPage(own *Registry, measure func(), envoy Source, app *App) *Page {
	own.Expect(envoyErrors, envoyErrorsHelp)
	p := &Page{own: own, envoy: scrape.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		measure()
		if err := copyText(r.Context(), w, envoy); err != nil {
			own.Count(envoyErrors, envoyErrorsHelp)
		}
	}))}
	if app != nil {
		own.Expect(appErrors, appErrorsHelp)
		own.Expect(appReserved, appReservedHelp)
		p.app = &shared{read: app.reader()}
	}
	return p
}

// ServeHTTP implements http.Handler. Envoy's part comes last in time: while clients wait for the application, none of it
// is in memory.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var a *answer
	if p.app != nil {
		a = p.app.get(r.Context(), patienceOf(r.Header.Get(timeHeader)))
	}
	envoy, ok := p.envoy.Get(r.Context(), r.URL.Path)
	if !ok || r.Context().Err() != nil {
		return // the client has gone
	}
	if envoy.Code != http.StatusOK {
		w.WriteHeader(envoy.Code)
		return
	}
	var of part
	var rest bytes.Buffer
	if a != nil {
		of = a.part(envoy)
		if of.err != nil {
			p.own.Count(appErrors, appErrorsHelp)
			fmt.Fprintf(&rest, "# The application's metrics are left out: %s\n", oneLine(of.err.Error()))
		}
		if of.left > 0 {
			p.own.Count(appReserved, appReservedHelp)
		}
	}
	p.own.WriteTo(&rest) //nolint:errcheck // it is memory
	w.Header().Set("Content-Type", ContentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(envoy.Body)+len(of.text)+rest.Len()))
	for _, b := range [][]byte{envoy.Body, of.text, rest.Bytes()} {
		if _, err := w.Write(b); err != nil {
			return // the client has gone
		}
	}
}

// families returns the names of the metrics of a text that have a type.
func families(text []byte) map[string]bool {
	out := map[string]bool{}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("# TYPE ")); ok {
			name, _, _ := bytes.Cut(rest, []byte(" "))
			out[string(name)] = true
		}
	}
	return out
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
	return clip.Text(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s), maxReason)
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
