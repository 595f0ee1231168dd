// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptrace"
	"time"

	"tulle.dev/tulle/test/apps/report"
)

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func doHTTP(ctx context.Context, o options, r *result) error {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got100Continue: func() { r.Continued = true }})
	var body io.Reader
	if o.body > 0 {
		body = io.LimitReader(zeros{}, o.body)
	}
	req, err := http.NewRequestWithContext(ctx, o.method, o.target, body)
	if err != nil {
		return err
	}
	req.ContentLength = o.body
	req.Host = o.host
	for name, values := range o.header {
		req.Header[name] = values
	}
	if o.expect {
		req.Header.Set("Expect", "100-continue")
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!o.h2)
	protocols.SetUnencryptedHTTP2(o.h2)
	client := http.Client{
		Transport: &http.Transport{
			Protocols: protocols,
			// Longer than the exchange may take: the body is sent when the server asks for it, or never.
			ExpectContinueTimeout: time.Hour,
			TLSClientConfig:       &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // tells what it sees, trusts nobody with anything
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	began := time.Now()
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	r.First = time.Since(began).Seconds()
	r.Status, r.Proto, r.Header = res.StatusCode, res.Proto, res.Header
	err = r.take(res.Body)
	r.Trailer = res.Trailer
	if said, bad := report.Parse([]byte(r.Text)); bad == nil {
		r.Report = said
	}
	return err
}
