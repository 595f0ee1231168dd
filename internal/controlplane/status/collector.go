// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"tulle.dev/tulle/internal/names"
)

// pollWait is how long a replica holds a question without news.
const pollWait = 20 * time.Second

// ServeHTTP answers names.PathProgress.
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

// Peer is a replica of the control plane that is asked.
type Peer struct {
	Address string
	// Plain: it is of a release up to 0.2.0, which has names.PathProgress on the monitoring port.
	Plain bool
}

// Collector brings the progress of all replicas to the leader's Writer: its own ledger directly,
// the others' by long polling. A replica that does not answer is dropped until it does.
type Collector struct {
	Own    *Ledger
	Writer *Writer
	// Self is the address of this replica. Replicas returns all of them, this one included.
	Self     string
	Replicas func() []Peer
	Log      logr.Logger
	// TLS is the configuration for a connection to another replica, and Token what this one proves itself with.
	TLS   func() (*tls.Config, error)
	Token func() (string, error)
	// Dial opens connections; nil means as net.Dialer does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Run collects until the context ends.
func (c Collector) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { c.follow(ctx, own, c.own) })
	running := map[Peer]context.CancelFunc{}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ctx.Err() == nil {
		now := map[Peer]bool{}
		for _, p := range c.Replicas() {
			now[p] = true
		}
		for p, cancel := range running {
			if !now[p] {
				cancel()
				delete(running, p)
				c.Writer.Drop(p.Address)
			}
		}
		for p := range now {
			if p.Address == c.Self || running[p] != nil {
				continue
			}
			one, cancel := context.WithCancel(ctx)
			running[p] = cancel
			wg.Go(func() { c.follow(one, p.Address, c.remote(p)) })
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
	for p := range running {
		c.Writer.Drop(p.Address)
	}
}

func (c Collector) own(ctx context.Context, seq uint64) (Report, error) {
	return c.Own.Since(ctx, seq), nil
}

// maxProgress bounds another replica's answer, in bytes.
const maxProgress = 32 << 20

// remote returns a function that asks another replica. Over TLS the replica must prove that it is one, and
// it is never asked in another way.
func (c Collector) remote(p Peer) func(context.Context, uint64) (Report, error) {
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	client := &http.Client{Timeout: pollWait + 5*time.Second, Transport: &http.Transport{
		DialContext: dial,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			config, err := c.TLS()
			if err != nil {
				return nil, err
			}
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			secure := tls.Client(conn, config)
			if err := secure.HandshakeContext(ctx); err != nil {
				_ = conn.Close()
				return nil, err
			}
			return secure, nil
		},
		IdleConnTimeout: time.Minute,
	}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	base := "https://" + net.JoinHostPort(p.Address, strconv.Itoa(names.PortInternal))
	if p.Plain {
		base = "http://" + net.JoinHostPort(p.Address, strconv.Itoa(names.PortMonitor))
	}
	return func(ctx context.Context, seq uint64) (Report, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+names.PathProgress+"?seq="+strconv.FormatUint(seq, 10), http.NoBody)
		if err != nil {
			return Report{}, err
		}
		if !p.Plain {
			token, err := c.Token()
			if err != nil {
				return Report{}, err
			}
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := client.Do(req)
		if err != nil {
			return Report{}, fmt.Errorf("ask replica %s for its progress: %w", p.Address, err)
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			return Report{}, fmt.Errorf("ask replica %s for its progress: %s", p.Address, resp.Status)
		}
		var r Report
		if err := json.NewDecoder(io.LimitReader(resp.Body, maxProgress)).Decode(&r); err != nil {
			return Report{}, fmt.Errorf("read the progress of replica %s: %w", p.Address, err)
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
