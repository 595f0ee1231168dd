// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"tulle.dev/tulle/internal/names"
)

// ReportPath is where a replica answers other replicas: GET ?seq=N waits for a change after N.
const ReportPath = "/internal/progress"

// pollWait is how long a replica holds a question without news.
const pollWait = 20 * time.Second

// ServeHTTP answers ReportPath.
func (l *Ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	seq, err := strconv.ParseUint(r.URL.Query().Get("seq"), 10, 64)
	if err != nil {
		http.Error(w, "want ?seq=NUMBER", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), pollWait)
	defer cancel()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(l.Since(ctx, seq)) // the other side is gone: nobody to tell
}

// Collector brings the progress of all replicas to the leader's Writer: its own ledger directly,
// the others' by long polling. A replica that does not answer is dropped until it does.
type Collector struct {
	Own    *Ledger
	Writer *Writer
	// Self is the address of this replica. Replicas returns those of all, this one included.
	Self     string
	Replicas func() []string
	Log      logr.Logger
	// Ask asks the other replicas; nil: a client that waits a little longer than they do.
	Ask *http.Client
}

// Run collects until the context ends.
func (c Collector) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { c.follow(ctx, own, c.own) })
	running := map[string]context.CancelFunc{}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ctx.Err() == nil {
		now := map[string]bool{}
		for _, a := range c.Replicas() {
			if now[a] = true; a == c.Self || running[a] != nil {
				continue
			}
			one, cancel := context.WithCancel(ctx)
			running[a] = cancel
			wg.Go(func() { c.follow(one, a, c.remote(a)) })
		}
		for a, cancel := range running {
			if !now[a] {
				cancel()
				delete(running, a)
				c.Writer.Drop(a)
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	for _, cancel := range running {
		cancel()
	}
	wg.Wait()
	for a := range running {
		c.Writer.Drop(a)
	}
}

func (c Collector) own(ctx context.Context, seq uint64) (Report, error) {
	return c.Own.Since(ctx, seq), nil
}

func (c Collector) remote(addr string) func(context.Context, uint64) (Report, error) {
	client := c.Ask
	if client == nil {
		client = &http.Client{Timeout: pollWait + 5*time.Second}
	}
	base := "http://" + net.JoinHostPort(addr, strconv.Itoa(names.PortMonitor)) + ReportPath + "?seq="
	return func(ctx context.Context, seq uint64) (Report, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+strconv.FormatUint(seq, 10), nil)
		if err != nil {
			return Report{}, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return Report{}, fmt.Errorf("ask replica %s for its progress: %w", addr, err)
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			return Report{}, fmt.Errorf("ask replica %s for its progress: %s", addr, resp.Status)
		}
		var r Report
		if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
			return Report{}, fmt.Errorf("read the progress of replica %s: %w", addr, err)
		}
		return r, nil
	}
}

// maxPause bounds how long a replica that does not answer is left alone.
const maxPause = 30 * time.Second

// follow asks a replica again and again. One that does not answer, or answers something that this
// release can't read, is left out: that is logged once, and asked for ever more seldom.
func (c Collector) follow(ctx context.Context, replica string, ask func(context.Context, uint64) (Report, error)) {
	var seq uint64
	pause := time.Second
	out := false
	for ctx.Err() == nil {
		r, err := ask(ctx, seq)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !out {
				c.Log.Info("A replica of the control plane does not report what its proxies acknowledged; it is left out", "replica", replica, "reason", err.Error())
			}
			out, seq = true, 0
			c.Writer.Drop(replica)
			wait(ctx, pause)
			pause = min(2*pause, maxPause)
			continue
		case out:
			c.Log.Info("A replica of the control plane reports again", "replica", replica, "release", r.Release)
		}
		out, pause = false, time.Second
		if len(r.Rows) > 0 || r.All {
			c.Writer.Progress(replica, r)
		}
		seq = r.Seq
		if seq == 0 { // an empty ledger answers at once: don't ask it in a tight loop
			wait(ctx, time.Second)
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
