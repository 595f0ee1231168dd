// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pages

import (
	"context"
	"io"
	"net/http"
)

// Transport returns a transport that ends the answers to requests of Read which are larger than a page may be.
// It leaves all other requests alone. Wrap it around the transport that decompresses answers.
// If next is nil, it is http.DefaultTransport.
func Transport(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return transport{next}
}

type transport struct{ next http.RoundTripper }

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if b := budgetOf(req.Context()); b != nil && err == nil {
		resp.Body = &body{ReadCloser: resp.Body, budget: b}
	}
	return resp, err
}

// WrappedRoundTripper is for those that look for the transport below.
func (t transport) WrappedRoundTripper() http.RoundTripper { return t.next }

type budgetKey struct{}

// budget is how many bytes a page may have, and how many the answer to the last request had: a client may retry. A
// client reads an answer in the goroutine that asked.
type budget struct {
	left, count int64
}

func budgetOf(ctx context.Context) *budget {
	b, _ := ctx.Value(budgetKey{}).(*budget)
	return b
}

func (b *budget) read() int64    { return b.count }
func (b *budget) exceeded() bool { return b.count > b.left }

// body counts what is read.
type body struct {
	io.ReadCloser
	budget *budget
	n      int64
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	b.budget.count = b.n
	if b.n > b.budget.left {
		return n, io.EOF // Read does not use the answer; an error would be logged by the client
	}
	return n, err
}
