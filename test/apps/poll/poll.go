// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Change is the first answer of a target, and each that differs from the one before.
type Change struct {
	Target string `json:"target"`
	// Answer is the Location of a redirection, else what came instead: "status 503", "error: ...".
	Answer string `json:"answer"`
	// At is when the answer had come, and Before when the one before it had, which still was another:
	// the change took effect between the two. In nanoseconds since 1970, as this machine's clock has it;
	// Before is 0 with the first answer.
	At     int64 `json:"at"`
	Before int64 `json:"before,omitempty"`
}

// target is what is asked for, and where.
type target struct{ name, url, address string }

// timeout bounds one request. Who asks every few milliseconds is not to hang on one.
const timeout = 2 * time.Second

// poll asks until ctx ends.
func (t target) poll(ctx context.Context, every time.Duration, tell func(Change)) {
	a := &asker{target: t}
	defer a.close()
	tick := time.NewTicker(every) // drops the ticks that an answer takes longer than
	defer tick.Stop()
	last, before := "", int64(0)
	for {
		answer, err := a.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			a.close()
			answer = "error: " + err.Error()
		}
		now := time.Now().UnixNano()
		if answer != last {
			tell(Change{Target: t.name, Answer: answer, At: now, Before: before})
		}
		last, before = answer, now
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// asker asks over one connection, which it opens again after a failure. It does by hand what
// http.Client takes two more goroutines for: who asks so often is not to be what keeps the machine busy.
type asker struct {
	target
	request *http.Request
	text    []byte // the request as it is sent
	conn    net.Conn
	in      *bufio.Reader
}

func (a *asker) close() {
	if a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
}

func (a *asker) open(ctx context.Context) error {
	if a.request == nil {
		r, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, a.url, nil)
		if err != nil {
			return err
		}
		var text bytes.Buffer
		if err := r.Write(&text); err != nil {
			return err
		}
		a.request, a.text = r, text.Bytes()
	}
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", a.address)
	if err != nil {
		return err
	}
	a.conn, a.in = conn, bufio.NewReader(conn)
	return nil
}

// ask sends the request and reads the answer.
func (a *asker) ask(ctx context.Context) (string, error) {
	if a.conn == nil {
		if err := a.open(ctx); err != nil {
			return "", err
		}
	}
	if err := a.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}
	if _, err := a.conn.Write(a.text); err != nil {
		return "", err
	}
	res, err := http.ReadResponse(a.in, a.request)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return "", err
	}
	if res.Close { // the server says that it takes no more over this connection
		a.close()
	}
	if to := res.Header.Get("Location"); to != "" && res.StatusCode/100 == 3 {
		return to, nil
	}
	return fmt.Sprintf("status %d", res.StatusCode), nil
}
