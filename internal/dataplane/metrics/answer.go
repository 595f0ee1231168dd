// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"bytes"
	"fmt"
	"sync"

	"tulle.dev/tulle/internal/scrape"
)

// answer is what the application has answered. Only part may be called once clients share it.
type answer struct {
	kind string // the media type
	body []byte
	err  error

	mu   sync.Mutex // guards the rest
	with *scrape.Page
	last part
}

// part is what of an answer is in a page: valid metrics without those whose names are the proxy's, or none and an error.
type part struct {
	text []byte
	left int // how many lines were left out because of their names
	err  error
}

// part returns what of the answer is in a page together with Envoy's. It reads the answer once for all clients with the
// same page of Envoy's.
func (a *answer) part(envoy *scrape.Page) part {
	if a.err != nil {
		return part{err: a.err}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.with != envoy {
		a.with, a.last = envoy, a.check(envoy)
	}
	return a.last
}

func (a *answer) check(envoy *scrape.Page) (p part) {
	defer func() {
		if v := recover(); v != nil {
			p = part{err: fmt.Errorf("read the application's metrics: panic: %v", v)}
		}
	}()
	taken := families(envoy.Body)
	t := text{seconds: a.kind == "application/openmetrics-text", reserved: func(name string) bool { return isTaken(name, taken) }}
	if err := t.read(bytes.NewReader(a.body)); err != nil {
		return part{err: fmt.Errorf("the application's metrics (%s) are not in the text format of Prometheus: %w", a.kind, err)}
	}
	return part{text: t.out.Bytes(), left: t.left}
}
